import asyncio
import io
import json
import logging

import pytest

from controlplane import logs


@pytest.fixture
def out():
    stream = io.StringIO()
    logs.setup("info", stream=stream, json=True)
    return stream


def last(out):
    return json.loads(out.getvalue().splitlines()[-1])


def test_lines_are_json_with_time_level_and_part(out):
    logs.get("reconcile").warning("late", seconds=3)
    line = last(out)
    assert line.pop("timestamp").endswith("Z")
    assert line == {"event": "late", "level": "warning", "part": "reconcile", "seconds": 3}


def test_below_the_level_nothing_is_written(out):
    logs.get("api").debug("call")
    logging.getLogger("asyncio").debug("select")
    assert out.getvalue() == ""


def test_libraries_write_the_same_form(out):
    logging.getLogger("asyncssh").warning("no %s", "key")
    line = last(out)
    assert (line["event"], line["level"], line["logger"]) == ("no key", "warning", "asyncssh")


def test_exceptions_keep_their_stack(out):
    try:
        raise ValueError("boom")
    except ValueError:
        logs.get("api").exception("failed")
        logging.getLogger("lib").exception("failed too")
    for line in out.getvalue().splitlines():
        assert "ValueError: boom" in json.loads(line)["exception"]


def test_secrets_are_hidden(out):
    logs.get("api").info("key made", token="gp_123", password="p", key_id="key_1")
    line = last(out)
    assert (line["token"], line["password"], line["key_id"]) == ("***", "***", "key_1")


async def test_lines_carry_the_call_of_their_task(out):
    async def call(request_id):
        logs.bind_call(request_id, "acct_1")
        await asyncio.sleep(0)
        logs.get("usecase").info("created")
        logging.getLogger("lib").warning("slow")

    await asyncio.gather(call("r1"), call("r2"))
    got = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [(line["request_id"], line["account"]) for line in got] == [
        ("r1", "acct_1"),
        ("r1", "acct_1"),
        ("r2", "acct_1"),
        ("r2", "acct_1"),
    ]
    logs.get("api").info("outside")
    assert "request_id" not in last(out)


def test_a_tty_gets_colours():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    out = Terminal()
    logs.setup("info", stream=out)
    logs.get("api").info("hello", request_id="r1")
    assert "\x1b[" in out.getvalue()
    assert not out.getvalue().startswith("{")
