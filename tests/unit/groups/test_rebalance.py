"""Rebalances: the members of a generation, its leader, and the answers to members with their times."""

from __future__ import annotations

import pytest
from groups_kit import REBALANCE, SESSION, Driver, name_of, subscribing

from kgw_core.config import Groups as GroupSettings
from kgw_core.errors import CoordinatorNotAvailable, KafkaStorageError
from kgw_core.groups.events import Leaving
from kgw_core.groups.machine import NEW_MEMBER_MS

BOTH = (("range", b"r"), ("roundrobin", b"rr"))
OTHER = (("roundrobin", b"rr"), ("range", b"r"))


# -- a generation


def test_all_that_join_get_one_generation_and_the_leader_gets_all_members() -> None:
    driver = Driver()
    tokens = [driver.join(client=name) for name in ("a", "b", "c")]
    driver.advance(0)
    answers = list(driver.joined(*tokens))
    assert {answer.generation for answer in answers} == {1}
    assert {answer.leader for answer in answers} == {answers[0].member_id}
    assert [len(answer.members) for answer in answers] == [3, 0, 0]
    assert [member.id for member in answers[0].members] == [answer.member_id for answer in answers]
    assert answers[0].members[0].metadata == subscribing("t")
    assert (answers[0].protocol_type, answers[0].protocol_name) == ("consumer", "range")
    assert [answer.member_id[:2] for answer in answers] == ["a-", "b-", "c-"]


def test_everybody_gets_its_part_when_the_leader_has_brought_it() -> None:
    driver = Driver()
    leader, follower, late = driver.members(3)
    waiting = driver.sync(follower, 1)
    assert waiting.waits
    own = driver.sync(leader, 1, {leader: b"1", follower: b"2"}, protocol_name="range")
    assert (own.answer.assignment, waiting.answer.assignment) == (b"1", b"2")
    assert (own.answer.protocol_type, own.answer.protocol_name) == ("consumer", "range")
    assert driver.sync(late, 1).answer.assignment == b""
    assert driver.state == "Stable"


def test_a_member_that_asks_again_gets_its_assignment_again() -> None:
    driver = Driver()
    _, follower = driver.stable()
    assert driver.join(follower).answer.generation == 1
    assert driver.sync(follower, 1).answer.assignment == b"of " + follower.encode()
    assert driver.state == "Stable"


def test_of_two_requests_of_a_member_that_wait_the_first_is_answered_at_once() -> None:
    driver = Driver()
    leader, follower = driver.members()
    first, second = driver.sync(follower, 1), driver.sync(follower, 1)
    assert name_of(first.answer.error) == "REBALANCE_IN_PROGRESS"
    driver.sync(leader, 1, {follower: b"x"})
    assert second.answer.assignment == b"x"
    driver.join(client="third")
    first, second = driver.join(follower), driver.join(follower)
    assert name_of(first.answer.error) == "REBALANCE_IN_PROGRESS"
    assert second.waits


def test_a_new_member_makes_all_join_again() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    third = driver.join(client="third")
    assert driver.heartbeat(follower, 1) == "REBALANCE_IN_PROGRESS"
    tokens = [driver.join(leader), driver.join(follower), third]
    assert {(answer.generation, answer.leader) for answer in driver.joined(*tokens)} == {(2, leader)}


def test_who_does_not_join_again_in_time_is_out_and_another_leads() -> None:
    driver = Driver()
    leader, follower = driver.stable(session=60_000)
    third = driver.join(client="third")
    second = driver.join(follower)
    driver.advance(REBALANCE - 1)
    assert second.waits
    driver.advance(1)
    assert third.answer.generation == 2
    assert second.answer.leader != leader
    assert leader not in driver.group().members
    assert driver.heartbeat(leader, 1) == "UNKNOWN_MEMBER_ID"


def test_syncs_that_wait_are_told_when_a_new_member_comes() -> None:
    driver = Driver()
    _, follower = driver.members()
    waiting = driver.sync(follower, 1)
    driver.join(client="third")
    assert name_of(waiting.answer.error) == "REBALANCE_IN_PROGRESS"


def test_who_does_not_sync_in_time_is_out() -> None:
    driver = Driver()
    leader, follower = driver.members(session=60_000)
    driver.sync(leader, 1, {leader: b"x"})
    assert driver.state == "Stable"
    driver.advance(REBALANCE)
    assert driver.state == "PreparingRebalance"
    assert follower not in driver.group().members


def test_where_the_leader_does_not_sync_those_who_did_begin_again() -> None:
    driver = Driver()
    leader, follower = driver.members(session=60_000)
    waiting = driver.sync(follower, 1)
    driver.advance(REBALANCE)
    assert name_of(waiting.answer.error) == "REBALANCE_IN_PROGRESS"
    assert driver.join(follower).answer.leader == follower
    assert leader not in driver.group().members


# -- the first rebalance


def test_the_first_rebalance_waits_for_more_members() -> None:
    driver = Driver(GroupSettings(initial_rebalance_delay=3))
    first = driver.join()
    driver.advance(2_000)
    second = driver.join()
    driver.advance(3_999)  # the second one prolongs it, once more
    assert first.waits
    driver.advance(1)
    assert {answer.generation for answer in driver.joined(first, second)} == {1}


def test_the_first_rebalance_waits_no_longer_than_its_members_do() -> None:
    driver = Driver(GroupSettings(initial_rebalance_delay=3))
    first = driver.join(rebalance=5_000)
    for _ in range(5):
        driver.advance(999)
        driver.join(rebalance=5_000)
    driver.advance(5)
    assert first.answer.generation == 1


def test_a_later_rebalance_goes_on_when_all_are_there() -> None:
    driver = Driver(GroupSettings(initial_rebalance_delay=3))
    first = driver.join()
    driver.advance(3_000)
    member = first.answer.member_id
    second = driver.join()
    driver.join(member)
    assert second.answer.generation == 2


# -- the vote


def test_the_protocol_that_most_prefer_wins() -> None:
    driver = Driver()
    tokens = [driver.join(protocols=protocols) for protocols in (BOTH, OTHER, OTHER)]
    driver.advance(0)
    answers = list(driver.joined(*tokens))
    assert {answer.protocol_name for answer in answers} == {"roundrobin"}
    assert [member.metadata for member in answers[0].members] == [b"rr"] * 3


def test_only_what_all_support_can_win() -> None:
    driver = Driver()
    tokens = [driver.join(protocols=protocols) for protocols in (OTHER, OTHER, (("range", b"r"),))]
    driver.advance(0)
    assert {answer.protocol_name for answer in driver.joined(*tokens)} == {"range"}
    refused = driver.join(protocols=[("roundrobin", b"")])
    assert name_of(refused.answer.error) == "INCONSISTENT_GROUP_PROTOCOL"


def test_a_group_may_be_of_any_type_and_take_another_when_it_is_empty() -> None:
    driver = Driver()
    (member,) = driver.stable(1, protocol_type="connect", protocols=[("default", b"")])
    assert driver.group().subscribed() is None
    driver.leave(member)
    assert driver.state == "Empty"
    assert driver.group().protocol_type == "connect"
    driver.stable(1)
    assert driver.group().protocol_type == "consumer"


# -- sessions


def test_a_member_that_is_silent_is_out_and_the_others_rebalance() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    driver.advance(SESSION - 1)
    assert driver.heartbeat(leader, 1) == "NONE"
    driver.advance(1)
    assert driver.state == "PreparingRebalance"
    assert list(driver.group().members) == [leader]
    assert driver.heartbeat(follower, 1) == "UNKNOWN_MEMBER_ID"
    assert driver.join(leader).answer.generation == 2


@pytest.mark.parametrize("sign", ["heartbeat", "commit", "join", "sync"])
def test_every_sign_of_life_prolongs_the_session(sign: str) -> None:
    driver = Driver()
    leader, follower = driver.stable()
    for _ in range(5):
        driver.advance(SESSION - 1)
        driver.heartbeat(leader, 1)
        if sign == "heartbeat":
            driver.heartbeat(follower, 1)
        elif sign == "commit":
            assert driver.offset_commit(1, follower, 1).answer is None
        elif sign == "join":
            driver.join(follower)
        else:
            driver.sync(follower, 1)
    assert set(driver.group().members) == {leader, follower}


def test_a_group_whose_last_member_is_silent_is_empty() -> None:
    driver = Driver()
    driver.stable()
    driver.advance(SESSION)
    assert driver.state == "Empty"
    assert driver.group().generation == 2
    assert driver.group().protocol_name is None


def test_sessions_do_not_end_while_their_members_wait_for_others() -> None:
    driver = Driver()
    leader, follower = driver.stable(rebalance=60_000)
    waiting = driver.join(leader)
    driver.advance(SESSION)
    assert waiting.answer.generation == 2  # the follower is out
    assert follower not in driver.group().members
    driver = Driver()
    leader, follower = driver.members(session=60_000)
    waiting = driver.sync(follower, 1)
    driver.advance(REBALANCE - 1)
    assert waiting.waits


def test_a_new_member_whose_answer_takes_too_long_is_forgotten() -> None:
    driver = Driver()
    leader, follower = driver.stable(rebalance=10 * NEW_MEMBER_MS)
    new = driver.join(client="new", rebalance=10 * NEW_MEMBER_MS)
    for _ in range(NEW_MEMBER_MS // SESSION + 1):
        driver.heartbeat(leader, 1)
        driver.heartbeat(follower, 1)
        driver.advance(SESSION - 1)
    driver.advance(SESSION)
    assert name_of(new.answer.error) == "UNKNOWN_MEMBER_ID"


def test_a_new_member_goes_with_its_client() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    new = driver.join(client="new")
    driver.run(driver.coordinator.abandoned("g", new, driver.now))
    assert set(driver.group().members) == {leader, follower}
    waiting = driver.join(leader)
    driver.run(driver.coordinator.abandoned("g", waiting, driver.now))
    assert leader in driver.group().members


@pytest.mark.parametrize(("session", "told"), [(5_999, "INVALID_SESSION_TIMEOUT"), (6_000, "NONE")])
def test_a_session_has_bounds(session: int, told: str) -> None:
    driver = Driver()
    token = driver.join(session=session)
    driver.advance(0)
    assert name_of(token.answer.error) == told


# -- members that do not know their id yet


def test_a_member_id_is_told_before_the_member_may_join() -> None:
    driver = Driver()
    told = driver.join(client="me", needs_id=True).answer
    assert name_of(told.error) == "MEMBER_ID_REQUIRED"
    assert told.member_id.startswith("me-")
    token = driver.join(told.member_id)
    driver.advance(0)
    assert token.answer.member_id == told.member_id


def test_a_rebalance_waits_for_members_that_were_told_an_id() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    told = driver.join(needs_id=True).answer
    tokens = [driver.join(leader), driver.join(follower)]
    assert all(token.waits for token in tokens)
    third = driver.join(told.member_id)
    assert {answer.generation for answer in driver.joined(*tokens, third)} == {2}


def test_a_member_id_that_is_not_used_is_forgotten() -> None:
    driver = Driver()
    leader, _ = driver.stable(session=60_000)
    told = driver.join(needs_id=True).answer
    waiting = driver.join(leader)
    driver.join("nobody")
    driver.advance(SESSION)
    assert not driver.group().pending
    assert waiting.waits  # for the follower
    assert name_of(driver.join(told.member_id).answer.error) == "UNKNOWN_MEMBER_ID"


def test_a_group_of_which_only_an_unused_member_id_is_left_is_forgotten() -> None:
    driver = Driver()
    driver.join(needs_id=True)
    driver.advance(SESSION)
    assert driver.state == "none"


def test_a_pending_member_may_leave() -> None:
    driver = Driver()
    told = driver.join(needs_id=True).answer
    assert driver.leave(told.member_id).answer == [None]
    assert driver.state == "none"


# -- leaving


def test_several_members_leave_at_once_each_with_its_own_outcome() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    outcomes = driver.leave(leader, "stranger", follower).answer
    assert [name_of(error) for error in outcomes] == ["NONE", "UNKNOWN_MEMBER_ID", "NONE"]
    assert driver.state == "Empty"


def test_who_leaves_while_it_waits_is_told() -> None:
    driver = Driver()
    _, follower = driver.members()
    syncing = driver.sync(follower, 1)
    driver.leave(follower)
    assert name_of(syncing.answer.error) == "UNKNOWN_MEMBER_ID"
    driver = Driver()
    leader, _ = driver.stable()
    joining = driver.join(leader)
    driver.leave(leader)
    assert name_of(joining.answer.error) == "UNKNOWN_MEMBER_ID"


def test_the_others_go_on_at_once_when_the_one_they_wait_for_leaves() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    waiting = driver.join(leader)
    driver.leave(follower)
    assert waiting.answer.generation == 2


# -- size


def test_a_full_group_takes_nobody_else() -> None:
    driver = Driver(GroupSettings(initial_rebalance_delay=0, max_size=2))
    leader, follower = driver.stable()
    assert name_of(driver.join().answer.error) == "GROUP_MAX_SIZE_REACHED"
    assert driver.state == "Stable"
    driver.join(leader)
    driver.join(follower)
    assert driver.group().generation == 2


def test_a_loaded_group_that_is_too_large_rebalances() -> None:
    driver = Driver()
    members = driver.stable(3)
    driver.settings = GroupSettings(initial_rebalance_delay=0, max_size=2)
    driver.crash()
    assert driver.state == "PreparingRebalance"
    tokens = [driver.join(member) for member in members]
    assert name_of(tokens[2].answer.error) == "GROUP_MAX_SIZE_REACHED"
    assert {answer.generation for answer in driver.joined(*tokens[:2])} == {2}


# -- writes that take time, or fail


def test_nobody_is_told_before_it_is_written() -> None:
    driver = Driver(hold=True)
    token = driver.join()
    driver.advance(0)
    assert token.waits
    assert driver.group().generation == 0
    driver.commit()
    assert token.answer.generation == 1
    member = token.answer.member_id
    syncing = driver.sync(member, 1, {member: b"x"})
    assert syncing.waits
    assert driver.state == "CompletingRebalance"
    driver.commit()
    assert syncing.answer.assignment == b"x"


def test_what_comes_while_a_group_is_written_waits_its_turn() -> None:
    driver = Driver(hold=True)
    first = driver.join()
    driver.advance(0)
    late = driver.join()
    leaving = driver.leave("stranger")
    deleting = driver.delete()
    assert late.waits
    assert leaving.waits
    driver.commit_one()
    assert first.answer.generation == 1
    assert driver.state == "PreparingRebalance"
    assert name_of(leaving.answer[0]) == "UNKNOWN_MEMBER_ID"
    assert name_of(deleting.answer) == "NON_EMPTY_GROUP"
    driver.join(first.answer.member_id)
    driver.commit()
    assert late.answer.generation == 2


def test_a_generation_that_cannot_be_written_is_none() -> None:
    driver = Driver(hold=True)
    first = driver.join()
    driver.advance(0)
    driver.commit_one(KafkaStorageError("disk full"))
    assert name_of(first.answer.error) == "NOT_COORDINATOR"
    assert driver.group().generation == 0
    again = driver.join()
    driver.commit()
    assert again.answer.generation == 1


def test_an_assignment_that_cannot_be_written_is_told_to_all() -> None:
    driver = Driver()
    leader, follower = driver.members()
    waiting = driver.sync(follower, 1)
    driver.hold = True
    own = driver.sync(leader, 1, {leader: b"x"})
    driver.commit_one(CoordinatorNotAvailable("not now"))
    for token in (waiting, own):
        assert name_of(token.answer.error) == "COORDINATOR_NOT_AVAILABLE"
    assert driver.state == "PreparingRebalance"
    tokens = [driver.join(leader), driver.join(follower)]
    driver.commit()
    assert {answer.generation for answer in driver.joined(*tokens)} == {2}


def test_that_a_group_is_empty_is_written_until_it_succeeds() -> None:
    driver = Driver()
    (member,) = driver.stable(1)
    driver.hold = True
    driver.leave(member)
    driver.commit_one(KafkaStorageError("disk full"))
    assert driver.state == "PreparingRebalance"
    driver.advance(1_000)
    driver.commit()
    assert driver.state == "Empty"


# -- after a crash


@pytest.mark.parametrize("stable", [True, False])
def test_a_generation_goes_on_after_a_crash(stable: bool) -> None:
    driver = Driver()
    leader, follower = driver.stable() if stable else driver.members()
    driver.crash()
    assert driver.state == ("Stable" if stable else "CompletingRebalance")
    assert driver.heartbeat(follower, 1) == "NONE"
    if stable:
        assert driver.sync(follower, 1).answer.assignment == b"of " + follower.encode()
    else:
        waiting = driver.sync(follower, 1)
        driver.sync(leader, 1, {follower: b"x"})
        assert waiting.answer.assignment == b"x"


def test_members_that_a_crash_took_along_run_out_of_time() -> None:
    driver = Driver()
    driver.members()
    driver.crash()
    driver.advance(REBALANCE + SESSION)
    assert driver.state == "Empty"


def test_a_rebalance_that_a_crash_interrupts_begins_again() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    driver.join(client="third")
    driver.join(leader)
    driver.crash()
    assert driver.state == "Stable"
    assert set(driver.group().members) == {leader, follower}
    driver.join(leader)
    assert driver.join(follower).answer.generation == 2


def test_no_generation_number_is_given_twice_whenever_it_crashes() -> None:
    driver = Driver()
    (member,) = driver.members(1)
    driver.crash()
    driver.join(client="other")
    again = driver.join(member)
    assert again.answer.generation == 2


# -- the end


def test_whoever_waits_is_told_when_the_gateway_stops() -> None:
    driver = Driver()
    leader, follower = driver.members()
    syncing = driver.sync(follower, 1)
    joining = driver.join(group="other")
    driver.run(driver.coordinator.stop())
    assert name_of(syncing.answer.error) == "NOT_COORDINATOR"
    assert name_of(joining.answer.error) == "NOT_COORDINATOR"
    assert driver.heartbeat(leader, 1) == "COORDINATOR_NOT_AVAILABLE"
    assert name_of(driver.join().answer.error) == "COORDINATOR_NOT_AVAILABLE"
    assert name_of(driver.sync(follower, 1).answer.error) == "COORDINATOR_NOT_AVAILABLE"


def test_while_groups_are_loaded_clients_are_told_what_they_understand() -> None:
    driver = Driver()
    driver.coordinator.groups.loading = True
    assert driver.heartbeat("m", 1) == "NONE"
    assert name_of(driver.sync("m", 1).answer.error) == "REBALANCE_IN_PROGRESS"
    assert name_of(driver.join().answer.error) == "COORDINATOR_LOAD_IN_PROGRESS"
    assert name_of(driver.offset_commit(1).answer) == "COORDINATOR_LOAD_IN_PROGRESS"


def test_a_group_has_to_have_an_id() -> None:
    driver = Driver()
    assert name_of(driver.join(group="").answer.error) == "INVALID_GROUP_ID"
    assert name_of(driver.sync("m", 1, group="").answer.error) == "INVALID_GROUP_ID"
    assert driver.heartbeat("m", 1, group="") == "INVALID_GROUP_ID"


# -- static members


def test_a_static_member_comes_back_without_a_rebalance() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    static = driver.join(instance="i", client="s")
    tokens = [driver.join(leader), driver.join(follower), static]
    list(driver.joined(*tokens))
    old = static.answer.member_id
    assert old.startswith("i-")
    for member in (leader, follower, old):
        driver.sync(member, 2, {leader: b"1", follower: b"2", old: b"3"}, instance=None)
    assert driver.state == "Stable"
    back = driver.join(instance="i", client="s").answer
    assert (back.generation, back.leader, back.skip_assignment) == (2, leader, False)
    assert back.member_id != old
    assert driver.state == "Stable"
    assert driver.sync(back.member_id, 2, instance="i").answer.assignment == b"3"
    assert driver.heartbeat(old, 2, instance="i") == "FENCED_INSTANCE_ID"
    assert driver.heartbeat(old, 2) == "UNKNOWN_MEMBER_ID"
    assert driver.heartbeat(back.member_id, 2, instance="i") == "NONE"
    assert name_of(driver.offset_commit(1, old, 2, instance="i").answer) == "FENCED_INSTANCE_ID"
    assert name_of(driver.join(old, instance="i").answer.error) == "FENCED_INSTANCE_ID"


@pytest.mark.parametrize("may_skip", [True, False])
def test_a_static_leader_that_comes_back_assigns_nothing(may_skip: bool) -> None:
    driver = Driver()
    (old,) = driver.stable(1, instance="i")
    back = driver.join(instance="i", may_skip=may_skip).answer
    assert back.skip_assignment == may_skip
    assert back.leader == (back.member_id if may_skip else old)
    assert len(back.members) == may_skip
    assert driver.group().leader == back.member_id
    driver.crash()
    assert list(driver.group().members) == [back.member_id]


def test_a_static_member_that_comes_back_in_a_rebalance_takes_part_under_its_new_id() -> None:
    driver = Driver()
    (old,) = driver.members(1, instance="i")
    waiting = driver.sync("x", 1)
    assert waiting.answer.error is not None
    syncing = driver.join(old, instance="i", protocols=[("range", subscribing("u"))])
    assert syncing.answer.generation == 2
    back = driver.join(instance="i", protocols=[("range", subscribing("u"))])
    assert back.answer.generation == 3
    assert driver.heartbeat(old, 2, instance="i") == "FENCED_INSTANCE_ID"


def test_whoever_waits_under_the_old_id_is_fenced() -> None:
    driver = Driver()
    leader, follower = driver.stable()
    static = driver.join(instance="i")
    again = driver.join(instance="i")
    assert name_of(static.answer.error) == "FENCED_INSTANCE_ID"
    driver.join(leader)
    driver.join(follower)
    assert again.answer.generation == 2


def test_a_static_member_whose_return_changes_the_protocol_makes_a_rebalance() -> None:
    driver = Driver()
    driver.stable(1, instance="i", protocols=BOTH)
    back = driver.join(instance="i", protocols=OTHER)
    assert back.answer.generation == 2
    assert back.answer.protocol_name == "roundrobin"


def test_static_members_stay_over_a_rebalance_that_they_miss() -> None:
    driver = Driver()
    slow = {"session": 60_000, "rebalance": 5_000}
    leader, follower = driver.stable(**slow)
    static = driver.join(instance="i", **slow)
    driver.join(leader, **slow)
    driver.join(follower, **slow)
    old = static.answer.member_id
    for member in (follower, old, leader):
        driver.sync(member, 2, {old: b"3"})
    driver.join(leader, **slow)
    driver.join(follower, **slow)
    driver.advance(5_000)
    assert driver.group().generation == 3
    assert old in driver.group().members


def test_a_group_of_static_members_that_are_all_away_waits_for_their_sessions() -> None:
    driver = Driver()
    (old,) = driver.stable(1, instance="i", session=60_000, rebalance=5_000)
    new = driver.join(client="new", session=60_000, rebalance=5_000)
    driver.leave(next(iter(set(driver.group().members) - {old})))
    assert name_of(new.answer.error) == "UNKNOWN_MEMBER_ID"
    driver.advance(20_000)
    assert driver.state == "PreparingRebalance"
    driver.advance(40_000)
    assert driver.state == "Empty"


def test_a_static_member_can_be_removed_by_its_instance_id() -> None:
    driver = Driver()
    driver.stable(1, instance="i")
    assert driver.leave(Leaving("", "i")).answer == [None]
    assert driver.state == "Empty"
    outcomes = driver.leave(Leaving("", "i")).answer
    assert name_of(outcomes[0]) == "UNKNOWN_MEMBER_ID"
