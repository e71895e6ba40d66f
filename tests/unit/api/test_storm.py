"""Thousands of streams opened at once, as after a restart: none may be refused."""

import asyncio

import grpc

STREAMS = 5_000


async def test_five_thousand_streams_at_once(start, until):
    farm = await start()
    # Several connections: one would let gRPC queue the streams at the client.
    channels = [
        grpc.aio.insecure_channel(farm.server.addresses[0], options=(("grpc.use_local_subchannel_pool", 1),))
        for _ in range(10)
    ]
    try:
        farm.channel, first = channels[0], farm.channel
        await asyncio.gather(*(channel.channel_ready() for channel in channels))
        streams = []
        for i in range(STREAMS):
            farm.channel = channels[i % len(channels)]
            streams.append(farm.watch("forever"))
        async with asyncio.timeout(60):
            got = await asyncio.gather(*(stream.read() for stream in streams), return_exceptions=True)
        refused = [error for error in got if isinstance(error, BaseException)]
        assert len(refused) == 0, refused[0]
        assert farm.servicer.open == STREAMS
        labels = {"method": "gpuplane.v1.Operations/WatchOperation"}
        assert farm.metrics.registry.get_sample_value("gpuplane_streams_open", labels) == STREAMS
        farm.server.stopping.set()
        await until(lambda: farm.servicer.open == 0)
    finally:
        farm.channel = first
        await asyncio.gather(*(channel.close() for channel in channels))
