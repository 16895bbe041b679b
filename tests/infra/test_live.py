"""The fan-out: every watcher gets every event once and in order, whatever the others do."""

import asyncio
import random
from uuid import uuid4

import pytest

from infra.stream_log import AT, StreamLog, is_last
from shopfloor.base.errors import InvalidInput, Unavailable
from shopfloor.infra.frames import MAX_EVENT_BYTES, Batch, Frame, LiveEvent
from shopfloor.infra.live import LiveFeed, LiveLimits

FAST = LiveLimits(tick_s=0.01, poll_s=0.05, ping_s=0.03, recheck_s=0.03, stall_s=0.05)


@pytest.fixture
def stream():
    return StreamLog()


def feed_of(stream, limits=None):
    stream.feed = LiveFeed(stream.read, is_last=is_last, limits=limits or LiveLimits(page=16))
    return stream.feed


async def collect(subscription, *, until=None):
    """The seqs taken until the stream ends, or until event `until`."""
    seqs = []
    try:
        await subscription.start()
        while (batches := await subscription.take()) is not None:
            seqs += [frame.seq for batch in batches for frame in batch.frames]
            if until is not None and seqs and seqs[-1] >= until:
                break
    finally:
        subscription.close()
    return seqs


async def settled(condition):
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110 (looks at counters that belong to others)
            await asyncio.sleep(0.002)


async def test_history_comes_first_and_live_events_follow_without_a_seam(stream):
    feed = feed_of(stream)
    stream.add(100)
    watching = asyncio.create_task(collect(feed.subscribe(stream.job_id)))
    await settled(lambda: stream.reads >= 7)
    stream.add(50)
    stream.finish()
    assert await watching == list(range(1, 152))


async def test_nothing_is_lost_or_doubled_while_writers_and_watchers_race(stream):
    feed = feed_of(stream, LiveLimits(page=7, kept_frames=20, poll_s=0.05, queued_frames=100_000))
    chance = random.Random(20260102)

    async def write():
        while len(stream.events) < 2_000:
            stream.add(chance.randrange(1, 9), silent=chance.random() < 0.2)
            await asyncio.sleep(0 if chance.random() < 0.8 else 0.001)
        stream.finish()

    async def watch(after):
        for _ in range(chance.randrange(40)):
            await asyncio.sleep(0.001)
        after = min(after, len(stream.events))
        return after, await collect(feed.subscribe(stream.job_id, after))

    writer = asyncio.create_task(write())
    results = await asyncio.gather(*(watch(chance.randrange(300)) for _ in range(60)))
    await writer
    last = len(stream.events)
    assert [seqs for _, seqs in results] == [list(range(after + 1, last + 1)) for after, _ in results]
    assert (feed.subscribers, feed.channels) == (0, 0)


async def test_an_answer_that_is_old_when_it_arrives_loses_nothing(stream):
    feed = feed_of(stream)
    first, second = feed.subscribe(stream.job_id), feed.subscribe(stream.job_id)
    watching = asyncio.create_task(collect(first))
    await settled(lambda: feed._channels[stream.job_id].head == 0)
    stream.hold = asyncio.Event()
    hold = stream.hold
    waiting = asyncio.create_task(collect(second))
    await settled(lambda: stream.hold is None)  # the second has read that there is nothing, and doesn't know it yet
    stream.add(3)
    await settled(lambda: feed._channels[stream.job_id].head == 3)
    hold.set()
    await asyncio.sleep(0.01)
    stream.finish()
    assert await watching == await waiting == [1, 2, 3, 4]


async def test_ten_thousand_events_reach_many_watchers_and_the_store_is_read_once_a_page(stream):
    feed = feed_of(stream, LiveLimits(page=250))
    stream.add(9_999)
    stream.finish()
    results = await asyncio.gather(*(collect(feed.subscribe(stream.job_id)) for _ in range(20)))
    assert results == [list(range(1, 10_001))] * 20
    assert stream.reads <= 60  # 40 pages; 20 watchers reading for themselves would be 800


async def test_a_lost_wake_up_only_delays(stream):
    feed = feed_of(stream, FAST)
    watching = asyncio.create_task(collect(feed.subscribe(stream.job_id)))
    await settled(lambda: stream.reads > 2)
    stream.add(3, silent=True)
    stream.add(kind="job.finished", silent=True)
    assert await watching == [1, 2, 3, 4]


async def test_a_slow_watcher_is_dropped_alone_and_resumes_where_it_stopped(stream):
    feed = feed_of(stream, LiveLimits(queued_frames=50))
    slow = feed.subscribe(stream.job_id)
    quick = asyncio.create_task(collect(feed.subscribe(stream.job_id)))
    stream.add(1)
    assert [batch.last_seq for batch in await slow.take()] == [1]
    waiting = asyncio.create_task(slow.take())
    await asyncio.sleep(0.01)
    stream.add(1)
    await waiting  # it has 1 and 2, and takes nothing from here on
    for _ in range(30):
        stream.add(10)
        await asyncio.sleep(0)
        await asyncio.sleep(0.001)
    await settled(lambda: slow.reason is not None)
    assert (slow.reason, await slow.take(), slow._queue) == ("slow", None, [])
    slow.close()
    stream.finish()
    assert await quick == list(range(1, 304))
    assert await collect(feed.subscribe(stream.job_id, 2)) == list(range(3, 304))


async def test_bytes_count_too(stream):
    feed = feed_of(stream, LiveLimits(queued_bytes=10_000))
    slow = feed.subscribe(stream.job_id)
    stream.add(1)
    await slow.take()
    waiting = asyncio.create_task(slow.take())
    await asyncio.sleep(0.01)
    stream.add(1, data={"text": "x" * 20_000})
    assert await waiting is None
    assert slow.reason == "slow"
    slow.close()


async def test_a_stream_that_ended_before_the_place_asked_for_says_so_at_once(stream):
    feed = feed_of(stream)
    stream.add(4)
    stream.finish()
    done = feed.subscribe(stream.job_id, 5)
    assert await done.start() is False
    assert await done.take() is None
    done.close()
    assert await collect(feed.subscribe(stream.job_id, 4)) == [5]


async def test_a_place_beyond_the_last_event_is_refused_and_disturbs_nobody(stream):
    feed = feed_of(stream)
    stream.add(3)
    watching = asyncio.create_task(collect(feed.subscribe(stream.job_id)))
    beyond = feed.subscribe(stream.job_id, 1_000)
    with pytest.raises(InvalidInput, match="no event 1000"):
        await beyond.start()
    beyond.close()
    stream.finish()
    assert await watching == [1, 2, 3, 4]


async def test_silence_brings_a_ping(stream):
    feed = feed_of(stream, FAST)
    subscription = feed.subscribe(stream.job_id)
    assert [await subscription.take() for _ in range(3)] == [[], [], []]
    subscription.close()


async def test_a_revoked_watcher_gets_nothing_more(stream):
    feed = feed_of(stream, FAST)
    allowed = True

    async def authorized():
        return allowed

    subscription = feed.subscribe(stream.job_id, authorized=authorized)
    stream.add(1)
    assert (await subscription.take())[0].last_seq == 1
    allowed = False
    while (taken := await subscription.take()) == []:
        pass
    assert (taken, subscription.reason) == (None, "revoked")
    subscription.close()


async def test_an_authority_that_cannot_be_asked_is_believed_for_a_while_only(stream):
    feed = feed_of(stream, FAST)

    async def unreachable():
        raise Unavailable("the database rests")

    subscription = feed.subscribe(stream.job_id, authorized=unreachable)
    pings = 0
    while await subscription.take() is not None:
        pings += 1
    assert subscription.reason == "revoked"
    assert pings >= 1  # it went on meanwhile
    subscription.close()


async def test_a_store_that_fails_for_a_while_costs_no_event(stream):
    feed = feed_of(stream, FAST)
    stream.add(2)
    watching = asyncio.create_task(collect(feed.subscribe(stream.job_id)))
    await settled(lambda: stream.reads >= 3)
    stream.fail_with = Unavailable("the database rests")
    stream.add(5)
    reads = stream.reads
    await settled(lambda: stream.reads > reads)
    stream.fail_with = None
    stream.finish()
    assert await watching == list(range(1, 9))


async def test_a_reader_that_crashes_ends_its_streams_and_the_next_one_starts_afresh(stream):
    feed = feed_of(stream, FAST)
    first, second = feed.subscribe(stream.job_id), feed.subscribe(stream.job_id)
    stream.add(1)
    await first.take()
    waiting = asyncio.create_task(first.take())
    await asyncio.sleep(0.02)
    stream.fail_with = KeyError("a defect")
    stream.add(1)
    assert await waiting is None
    assert first.reason == "error"
    first.close()
    stream.fail_with = None
    stream.finish()
    assert await collect(second) == [1, 2, 3]
    assert feed.channels == 0


async def test_closing_the_feed_ends_all_streams_and_refuses_new_ones(stream):
    feed = feed_of(stream)
    watching = [asyncio.create_task(collect(feed.subscribe(stream.job_id))) for _ in range(5)]
    await settled(lambda: stream.reads >= 1)
    await feed.close()
    assert await asyncio.wait_for(asyncio.gather(*watching), 2) == [[]] * 5
    assert feed.subscribers == 0
    with pytest.raises(Unavailable, match="stopping"):
        feed.subscribe(stream.job_id)


async def test_a_full_process_refuses_more_watchers(stream):
    feed = feed_of(stream, LiveLimits(subscribers=2))
    taken = [feed.subscribe(stream.job_id), feed.subscribe(uuid4())]
    with pytest.raises(Unavailable, match="too many"):
        feed.subscribe(stream.job_id)
    taken[0].close()
    taken[0].close()
    feed.subscribe(stream.job_id).close()
    taken[1].close()
    assert (feed.subscribers, feed.channels, feed._ticker) == (0, 0, None)


async def test_a_subscription_whose_answer_was_never_sent_is_let_go(stream):
    feed = feed_of(stream, FAST)
    feed.subscribe(stream.job_id)
    await settled(lambda: feed.subscribers == 0)
    assert feed.channels == 0


async def test_waking_a_job_nobody_watches_does_nothing(stream):
    feed = feed_of(stream)
    feed.changed(uuid4(), 5)
    assert (stream.reads, feed.channels) == (0, 0)


def test_a_frame_holds_the_same_json_for_both_transports():
    frame = Frame(LiveEvent(7, "tool.output", {"text": "a\r\nb\u2028ü"}, AT), is_last=False)
    assert frame.text == '{"seq":7,"kind":"tool.output","data":{"text":"a\\r\\nb\u2028ü"},"at":"2026-01-02T03:04:05Z"}'
    assert frame.sse == b"id: 7\nevent: tool.output\ndata: " + frame.text.encode() + b"\n\n"


def test_a_kind_cannot_forge_a_line_and_odd_data_is_still_told():
    forged = Frame(LiveEvent(1, "x\ndata: forged\r\n", {}, AT), is_last=False)
    assert forged.sse.count(b"\n") == 4
    odd = Frame(LiveEvent(1, "x", {"half": "\ud800", "big": 2**70, "set": {1}}, AT), is_last=False)
    assert '"half": "\\ud800"' in odd.text


def test_an_event_over_the_limit_is_told_by_its_size():
    frame = Frame(LiveEvent(1, "x", {"text": "x" * MAX_EVENT_BYTES}, AT), is_last=False)
    assert len(frame.sse) < 500
    assert '"too_large":true' in frame.text


def test_a_batch_is_cut_at_a_place():
    frames = [Frame(LiveEvent(seq, "x", {}, AT), is_last=False) for seq in range(5, 10)]
    batch = Batch(frames)
    assert batch.after(4) is batch
    assert [frame.seq for frame in batch.after(7).frames] == [8, 9]
    assert batch.after(9) is None
    assert batch.sse == b"".join(frame.sse for frame in frames)
