use bytes::Bytes;

use super::super::answers::{ANSWER, ReadMonitor};
use super::super::{Answer, CallSlot, CallSlots};
use super::*;

/// The next part of an answer, of so many bytes, beside so many more. It is held while it is kept.
fn give(answer: &Answer, part: usize, ahead: usize) -> Bytes {
    answer.give(vec![0; part].into(), ahead)
}

fn waiting(answers: &Arc<Answers>, count: usize) -> Vec<(Answer, Bytes)> {
    let begin = || {
        let answer = answers.begin(CallSlot::default());
        let part = give(&answer, 10, 0);
        (answer, part)
    };
    (0..count).map(|_| begin()).collect()
}

/// Room for one call, and a connection with an answer that has begun.
fn begun() -> (CallSlots, Arc<Answers>, ReadMonitor, Answer) {
    let slots = CallSlots::new(1, usize::MAX);
    let answers = slots.answers();
    let monitor = ReadMonitor::new(Arc::clone(&answers), slots.clone());
    let answer = answers.begin(CallSlot::default());
    (slots, answers, monitor, answer)
}

/// HTTP/2 reads all there is, writes what it has, and reads again.
fn write(monitor: &mut ReadMonitor) {
    monitor.reads();
    monitor.has_read_all();
    monitor.reads();
}

#[test]
fn who_reads_least_is_given_up_and_who_reads_is_not() {
    let slots = CallSlots::new(4, usize::MAX);
    let [few, most, reading] = [(); 3].map(|()| slots.answers());
    let kept = [waiting(&few, 2), waiting(&most, 3), waiting(&reading, 3)];
    reading.took(1 << 20);
    assert!(slots.take(&CallSlot::default(), &few));
    assert_eq!([&few, &most, &reading].map(|answers| answers.is_given_up()), [false, true, false]);
    // what was given up counts no more
    assert_eq!(slots.waiting(), (5, 5 * (ANSWER + 10)));
    let more = waiting(&few, 3);
    few.took(1 << 20);
    assert!(!slots.take(&CallSlot::default(), &few), "everybody reads, and this one has much to read");
    assert!(slots.take(&CallSlot::default(), &slots.answers()), "this one has nothing to read yet");
    drop((kept, more));
    assert_eq!(slots.waiting(), (0, 0));
    assert!(slots.take(&CallSlot::default(), &few));
}

#[tokio::test]
async fn a_turn_that_comes_brings_no_place_when_its_connection_has_its_share_waiting_by_then() {
    let slots = CallSlots::new(1, usize::MAX);
    let (connection, work, next) = (slots.answers(), CallSlot::default(), CallSlot::default());
    assert!(slots.take(&work, &connection));
    let answers = async {
        let kept = waiting(&connection, 2);
        connection.took(1 << 20);
        drop(work);
        kept
    };
    let (came, kept) = tokio::join!(slots.turn(&next, &connection), answers);
    assert!(!came && !slots.are_taken());
    drop(kept);
    assert!(slots.turn(&next, &connection).await);
}

#[tokio::test]
async fn the_calls_of_who_was_given_up_are_not_served_and_their_answers_do_not_count() {
    let slots = CallSlots::new(1, usize::MAX);
    let [hostile, other] = [(); 2].map(|()| slots.answers());
    let (work, late) = (CallSlot::default(), CallSlot::default());
    assert!(slots.take(&work, &other));
    let gone = async {
        hostile.give_up();
        drop(work);
    };
    let (came, ()) = tokio::join!(slots.turn(&late, &hostile), gone);
    assert!(!came && !slots.are_taken());
    assert!(!slots.turn(&late, &hostile).await);
    let kept = waiting(&hostile, 3);
    assert_eq!(slots.waiting(), (0, 0));
    drop(kept);
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn an_answer_that_its_server_works_on_or_that_ended_does_not_wait() {
    let slots = CallSlots::new(1, usize::MAX);
    let answers = slots.answers();
    let answer = answers.begin(CallSlot::default());
    assert_eq!(slots.waiting(), (0, 0));
    let first = give(&answer, 10, 20);
    assert_eq!(slots.waiting(), (1, ANSWER + 30));
    drop(first);
    let second = give(&answer, 20, 0);
    assert_eq!(slots.waiting(), (1, ANSWER + 20));
    answer.taken();
    assert!(answers.waiting().is_none());
    drop(second);
    assert_eq!(slots.waiting(), (0, 0));
    let third = give(&answer, 1, 0);
    drop((answer, third));
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn who_has_one_answer_has_a_moment_to_begin_however_many_others_have() {
    let (slots, begun) = (CallSlots::new(2, usize::MAX), Instant::now());
    let all: Vec<_> = (0..4).map(|_| slots.answers()).collect();
    let kept: Vec<_> = all.iter().map(|answers| waiting(answers, 1)).collect();
    assert!(slots.take(&CallSlot::default(), &slots.answers()), "this one has nothing to read yet");
    // unless the machine has stood still for longer than the moment
    assert!(begun.elapsed() >= GRACE || !all.iter().any(|answers| answers.is_given_up()));
    drop(kept);
}

#[test]
fn who_has_just_read_reads_when_the_next_answer_waits() {
    let slots = CallSlots::new(1, usize::MAX);
    let reading = slots.answers();
    drop(waiting(&reading, 1));
    reading.took(1 << 20);
    let kept = waiting(&reading, 2);
    assert!(!slots.take(&CallSlot::default(), &reading), "there is no room");
    assert!(!reading.is_given_up());
    drop(kept);
}

#[tokio::test]
async fn who_holds_the_only_place_and_does_not_begin_is_given_up_while_a_call_waits_for_its_turn() {
    let slots = CallSlots::new(1, usize::MAX);
    let [hostile, other] = [(); 2].map(|()| slots.answers());
    let work = CallSlot::default();
    assert!(slots.take(&work, &hostile));
    let answer = hostile.begin(work);
    let part = give(&answer, 10, 0);
    let next = CallSlot::default();
    assert!(slots.turn(&next, &other).await);
    assert!(hostile.is_given_up());
    drop((answer, part));
}

#[test]
fn who_holds_no_place_is_not_given_up_for_one() {
    let slots = CallSlots::new(4, usize::MAX);
    let [health, working] = [(); 2].map(|()| slots.answers());
    let works: Vec<_> = (0..4).map(|_| CallSlot::default()).collect();
    assert!(works.iter().all(|work| slots.take(work, &working)));
    let kept = waiting(&health, 3);
    assert!(!slots.take(&CallSlot::default(), &working));
    assert!(!health.is_given_up());
    drop(kept);
}

#[test]
fn places_that_unread_answers_hold_go_to_others_but_those_of_work_do_not() {
    let slots = CallSlots::new(4, usize::MAX);
    let [hostile, other] = [(); 2].map(|()| slots.answers());
    let holding = |answers: &Arc<Answers>, work: &CallSlot| {
        assert!(slots.take(work, answers));
        let answer = answers.begin(work.clone());
        let part = give(&answer, 10, 0);
        (answer, part)
    };
    let works: Vec<_> = (0..2).map(|_| CallSlot::default()).collect();
    let kept: Vec<_> = works.iter().map(|work| holding(&hostile, work)).collect();
    let ended: Vec<_> = (0..1).map(|_| holding(&hostile, &CallSlot::default())).collect();
    let others = holding(&other, &CallSlot::default());
    other.took(1 << 20);
    assert!(slots.are_taken());
    let [first, second] = [(); 2].map(|()| CallSlot::default());
    assert!(slots.take(&first, &other), "of the answer whose work has nobody else");
    assert!(hostile.is_given_up() && !other.is_given_up());
    assert!(!slots.take(&second, &other), "the work goes on");
    drop(works);
    assert!(slots.take(&second, &other));
    drop((kept, ended, others));
}

#[test]
fn who_holds_the_most_is_given_up_when_all_hold_more_than_there_is_room_for() {
    let slots = CallSlots::new(100, 100 << 10);
    let [small, large, reading] = [(); 3].map(|()| slots.answers());
    let [of_small, of_large] = [&small, &large].map(CallSlot::receiving);
    let answer = reading.begin(CallSlot::default());
    let part = give(&answer, 40 << 10, 0);
    reading.took(1 << 20);
    assert!(of_small.received(10 << 10) && of_large.received(30 << 10));
    assert!(![&small, &large, &reading].iter().any(|answers| answers.is_given_up()));
    assert!(of_large.received(20 << 10));
    assert_eq!([&small, &large, &reading].map(|answers| answers.is_given_up()), [false, true, false]);
    // a call has a size of its own
    assert_eq!(slots.waiting(), (1, ANSWER + ((4 + 10 + 40) << 10)));
    // what is given up counts no more, and nothing is counted of it
    assert!(of_large.received(90 << 10));
    drop((of_small, of_large));
    assert_eq!(slots.waiting(), (1, ANSWER + (40 << 10)));
    drop((answer, part));
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn who_has_its_share_gets_no_more_while_what_is_held_can_not_be_given_up() {
    let slots = CallSlots::new(100, 100 << 10);
    let [gone, other] = [(); 2].map(|()| slots.answers());
    let work = CallSlot::receiving(&gone);
    assert!(work.received(95 << 10));
    // its client leaves, the work goes on
    drop(ReadMonitor::new(gone, slots.clone()));
    let call = CallSlot::receiving(&other);
    assert!(call.received(1 << 10), "it has less than its share");
    assert!(!call.received(40 << 10));
    assert!(!other.is_given_up());
    drop(work);
    assert!(call.received(0));
    drop(call);
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn what_http2_has_counts_until_it_drops_it_and_waits_when_there_is_no_room_for_it() {
    let (slots, _answers, mut monitor, answer) = begun();
    let first = give(&answer, 60, 40);
    assert_eq!(slots.waiting(), (1, ANSWER + 100));
    let last = give(&answer, 40, 0);
    drop(first);
    assert_eq!(slots.waiting(), (1, ANSWER + 40));
    // HTTP/2 has got all of it, and has not written yet
    drop(answer);
    assert_eq!(slots.waiting(), (0, ANSWER + 40));
    // the socket takes no more
    monitor.blocks(true);
    write(&mut monitor);
    assert_eq!(slots.waiting(), (0, ANSWER + 40));
    monitor.blocks(false);
    // it was looked for the first part, then for the last
    (0..2).for_each(|_| write(&mut monitor));
    assert_eq!(slots.waiting(), (1, ANSWER + 40), "it was written as far as there is room");
    let rest = last.slice(1..);
    drop(last);
    assert_eq!(slots.waiting(), (1, ANSWER + 40), "a byte is gone");
    drop(rest);
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn what_came_while_http2_wrote_is_not_stuck() {
    let (slots, answers, mut monitor, answer) = begun();
    let first = give(&answer, 5, 0);
    answer.taken();
    monitor.has_read_all();
    let second = give(&answer, 6, 0);
    answer.taken();
    drop(first);
    monitor.reads();
    assert_eq!(slots.waiting(), (0, ANSWER + 6));
    write(&mut monitor);
    assert_eq!(slots.waiting(), (1, ANSWER + 6));
    // its client has room for it, and not for the next
    let third = give(&answer, 7, 0);
    answer.taken();
    drop(second);
    assert_eq!(slots.waiting(), (1, ANSWER + 7));
    drop(third);
    assert_eq!(slots.waiting(), (0, 0));
    // nothing of an answer that is given up counts
    let fourth = give(&answer, 8, 0);
    answers.give_up();
    assert_eq!(slots.waiting(), (0, 0));
    let fifth = give(&answer, 9, 0);
    drop((answer, fourth, fifth, monitor));
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn answers_of_a_few_bytes_fill_the_bound_when_there_is_no_room_for_them_and_not_when_they_are_written() {
    let slots = CallSlots::new(4, usize::MAX);
    let [hostile, reading] = [(); 2].map(|()| slots.answers());
    let mut monitors = [&hostile, &reading].map(|answers| ReadMonitor::new(Arc::clone(answers), slots.clone()));
    // HTTP/2 has got all of them, and was not there to write since
    let ended = |(answer, part): (Answer, Bytes)| {
        drop(answer);
        part
    };
    let written: Vec<Bytes> = waiting(&reading, 1000).into_iter().map(ended).collect();
    assert!(slots.take(&CallSlot::default(), &reading));
    drop(written);
    let stuck: Vec<Bytes> = waiting(&hostile, 9).into_iter().map(ended).collect();
    assert_eq!(slots.waiting(), (0, 9 * (ANSWER + 10)));
    monitors.iter_mut().for_each(write);
    assert_eq!(slots.waiting(), (9, 9 * (ANSWER + 10)));
    assert!(slots.take(&CallSlot::default(), &reading));
    assert!(hostile.is_given_up() && !reading.is_given_up());
    drop(stuck);
    assert_eq!(slots.waiting(), (0, 0));
}

#[test]
fn answers_of_a_few_bytes_hold_no_more_than_there_is_room_for() {
    let slots = CallSlots::new(1000, 100 << 10);
    let hostile = slots.answers();
    let kept: Vec<_> =
        (0..1000).map(|_| hostile.begin(CallSlot::default())).map(|answer| give(&answer, 1, 0)).collect();
    assert!(hostile.is_given_up());
    assert_eq!(slots.waiting(), (0, 0));
    drop(kept);
}
