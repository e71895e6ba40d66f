"""Another private key for a running session. In virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from controlplane.api.dialects.shopper.errors import render_error
from controlplane.domain.errors import Aborted, FailedPrecondition, PlaneError, Unavailable
from controlplane.domain.state import State
from controlplane.usecases.idempotency import SECRET_REPLAY_S
from tests.support.lab import Lab, in_virtual_time
from tests.unit.dialects.shopper_desk import Desk, desk_of, only


class Killed(BaseException):
    """The process ended."""


async def running(lab: Lab) -> tuple[Desk, str]:
    """A desk and its one session."""
    desk = await desk_of(lab)
    lab.work()
    made = await desk.create()
    return desk, (await lab.until(made.session.id, State.RUNNING)).id


def installed(lab: Lab) -> list[str]:
    """The keys that were added to the one machine."""
    (machine,) = lab.market.machines.values()
    return machine.keys


async def refusal(desk: Desk, id: str, name: str = "") -> tuple[int, str]:
    """Status and sentence."""
    with pytest.raises(PlaneError) as refused:
        await desk.rekey(id, name)
    shown = render_error(refused.value, "rid")
    return shown.status, str(shown.body["error"])


@in_virtual_time
async def test_a_running_session_gets_another_key_beside_the_one_it_has(lab: Lab) -> None:
    desk, id = await running(lab)
    before = only(lab).revision
    answer = await desk.rekey(id)
    assert (answer.session.id, answer.session.status, answer.ssh_private_key) == (id, "running", "private2")
    assert not answer.HasField("api_key")
    assert installed(lab) == ["ssh-rsa public2"]
    assert only(lab).wish.ssh_public_keys == ("ssh-rsa public1", "ssh-rsa public2")
    assert only(lab).revision > before, "whoever watches is told"
    assert (await desk.rekey(id)).ssh_private_key == "private3"
    assert installed(lab) == ["ssh-rsa public2", "ssh-rsa public3"]


@in_virtual_time
async def test_only_a_running_session_gets_one(lab: Lab) -> None:
    desk = await desk_of(lab)
    id = (await desk.create()).session.id
    sentence = f"{id} is not running (provisioning); only a running machine can be given a key"
    assert await refusal(desk, id) == (409, sentence)
    lab.work()
    await lab.until(id, State.RUNNING)
    await desk.done(id)
    assert await refusal(desk, id) == (409, f"{id} is about to end; its machine is given no key any more")
    await lab.settled(id)
    assert await refusal(desk, id) == (409, sentence.replace("provisioning", "stopped"))
    assert desk.keys.made == 1, "no pair was made for a refusal"


@in_virtual_time
async def test_a_provider_that_adds_no_keys_is_named(lab: Lab) -> None:
    desk, id = await running(lab)
    lab.provider.capabilities = replace(lab.provider.capabilities, add_keys=False)
    status, sentence = await refusal(desk, id)
    assert status == 409
    assert sentence.startswith("alpha cannot change the keys of a machine")
    assert len(only(lab).wish.ssh_public_keys) == 1


@in_virtual_time
async def test_a_machine_without_ssh_has_no_use_for_a_key(lab: Lab) -> None:
    desk, id = await running(lab)
    await lab.put(replace(only(lab), ssh_host=""))
    assert await refusal(desk, id) == (409, f"{id} has no SSH server; no key opens it")


@in_virtual_time
async def test_a_provider_that_cannot_be_asked_is_503_and_a_named_repeat_goes_on_with_the_same_key(lab: Lab) -> None:
    desk, id = await running(lab)
    lab.market.calm, lab.market.faults.call_error = False, 1.0
    assert await refusal(desk, id, "name") == (503, "alpha did not take the key; try again")
    assert installed(lab) == []
    assert only(lab).wish.ssh_public_keys[1:] == ("ssh-rsa public2",), "recorded before the provider is asked"
    lab.market.calm = True
    assert (await desk.rekey(id, "name")).ssh_private_key == "private2"
    assert installed(lab) == ["ssh-rsa public2"]
    assert desk.keys.made == 2
    lab.market.calm = False
    assert (await refusal(desk, id))[0] == 503
    assert only(lab).wish.ssh_public_keys[1:] == ("ssh-rsa public2",), "a pair that nobody can ask for again is dropped"


@in_virtual_time
async def test_a_provider_that_hangs_is_given_its_call_timeout(lab: Lab) -> None:
    desk, id = await running(lab)
    lab.market.calm, lab.market.faults.hang = False, 1.0
    began = lab.seconds
    assert (await refusal(desk, id))[0] == 503
    assert lab.seconds - began == pytest.approx(lab.provider.capabilities.call_timeout_s, abs=0.1)


@in_virtual_time
async def test_a_deployment_that_lost_its_provider_says_so_without_recording_a_key(lab: Lab) -> None:
    desk, id = await running(lab)
    await lab.put(replace(only(lab), credential_id="revoked"))
    assert (await refusal(desk, id))[0] == 503
    assert len(only(lab).wish.ssh_public_keys) == 1


@in_virtual_time
async def test_the_same_idempotency_key_gives_the_first_answer_for_ten_minutes(lab: Lab) -> None:
    desk, id = await running(lab)
    answer = await desk.rekey(id, "name")
    assert await desk.rekey(id, "name") == answer
    assert (await desk.rekey(id, "another")).ssh_private_key == "private3"
    await asyncio.sleep(SECRET_REPLAY_S + 1)
    assert (await desk.rekey(id, "name")).ssh_private_key == "private4"
    assert installed(lab) == [f"ssh-rsa public{n}" for n in (2, 3, 4)]


@in_virtual_time
async def test_a_name_is_of_one_session(lab: Lab) -> None:
    desk, id = await running(lab)
    other = (await desk.create(consumer_id="another")).session.id
    await desk.rekey(id, "name")
    with pytest.raises(Aborted) as refused:
        await desk.rekey(other, "name")
    assert render_error(refused.value, "rid").status == 409


@pytest.mark.parametrize("arrived", [False, True])
def test_after_a_kill_the_repeat_gives_the_key_that_was_recorded(arrived: bool) -> None:
    @in_virtual_time
    async def play(lab: Lab) -> None:
        desk, id = await running(lab)
        add_key = lab.provider.add_key

        async def kill(machine_id: str, line: str) -> None:
            if arrived:
                await add_key(machine_id, line)
            raise Killed

        lab.provider.add_key = kill  # type: ignore[method-assign]
        with pytest.raises(Killed):
            await desk.rekey(id, "name")
        lab.provider.add_key = add_key  # type: ignore[method-assign]
        next_life = Desk(lab.core, desk.hub)
        assert (await next_life.rekey(id, "name")).ssh_private_key == "private2"
        assert installed(lab) == ["ssh-rsa public2"]

    play()


@in_virtual_time
async def test_two_processes_with_the_same_name_give_the_same_key(lab: Lab) -> None:
    desk, id = await running(lab)
    other = Desk(lab.core, desk.hub)
    other.keys.made = 10
    other.keys.takes_s = 5.0  # it looks before the first has recorded anything, and records after it
    mine, theirs = await asyncio.gather(desk.rekey(id, "name"), other.rekey(id, "name"))
    assert mine == theirs
    assert mine.ssh_private_key == "private2"
    assert installed(lab) == ["ssh-rsa public2"]
    assert other.keys.away == 0, "its own pair was given back"


@in_virtual_time
async def test_a_session_that_ends_while_its_pair_is_made_gives_it_back(lab: Lab) -> None:
    desk, id = await running(lab)
    desk.keys.takes_s = 5.0
    asked = asyncio.create_task(desk.rekey(id))
    await asyncio.sleep(1)
    await desk.destroy(id)
    with pytest.raises(FailedPrecondition):
        await asked
    assert desk.keys.away == 1, "only the session's own"
    assert len(only(lab).wish.ssh_public_keys) == 1


@in_virtual_time
async def test_a_pair_that_was_perhaps_recorded_goes_to_nobody_else(lab: Lab) -> None:
    desk, id = await running(lab)
    lab.market.calm, lab.market.faults.call_error = False, 1.0
    with pytest.raises(Unavailable):
        await desk.rekey(id)
    assert desk.keys.away == 2


@in_virtual_time
async def test_thirty_two_keys_are_the_most(lab: Lab) -> None:
    desk, id = await running(lab)
    row = only(lab)
    many = tuple(f"ssh-rsa {n}" for n in range(32))
    await lab.put(replace(row, wish=replace(row.wish, ssh_public_keys=many)))
    assert await refusal(desk, id) == (409, f"{id} has 32 SSH keys, which is the most")
    assert installed(lab) == []
    assert desk.keys.away == 1


@in_virtual_time
async def test_an_entrypoint_session_is_told_its_api_key_again(lab: Lab) -> None:
    desk = await desk_of(lab)
    lab.work()
    made = await desk.create(launch_mode="entrypoint", model_id="x/y-1B")
    id = (await lab.until(made.session.id, State.RUNNING)).id
    assert (await desk.rekey(id)).api_key == made.api_key
