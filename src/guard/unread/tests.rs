use bytes::Bytes;

use super::super::answers::{ANSWER, Look};
use super::super::{Answer, Place, Places};
use super::*;

/// The next part of an answer, of so many bytes, beside so many more. It is held while it is kept.
fn give(answer: &Answer, part: usize, ahead: usize) -> Bytes {
    answer.give(vec![0; part].into(), ahead)
}

fn waiting(answers: &Arc<Answers>, count: usize) -> Vec<(Answer, Bytes)> {
    let begin = || {
        let answer = answers.begin(Place::default());
        let part = give(&answer, 10, 0);
        (answer, part)
    };
    (0..count).map(|_| begin()).collect()
}

/// Room for one call, and a connection with an answer that has begun.
fn begun() -> (Places, Arc<Answers>, Look, Answer) {
    let places = Places::new(1, usize::MAX);
    let answers = places.answers();
    let look = Look::new(Arc::clone(&answers), places.clone());
    let answer = answers.begin(Place::default());
    (places, answers, look, answer)
}

/// HTTP/2 reads all there is, writes what it has, and reads again.
fn write(look: &mut Look) {
    look.reads();
    look.has_read_all();
    look.reads();
}

#[test]
fn who_reads_least_is_given_up_and_who_reads_is_not() {
    let places = Places::new(4, usize::MAX);
    let [few, most, reading] = [(); 3].map(|()| places.answers());
    let kept = [waiting(&few, 2), waiting(&most, 3), waiting(&reading, 3)];
    reading.took(1 << 20);
    assert!(places.take(&Place::default(), &few));
    assert_eq!([&few, &most, &reading].map(|answers| answers.is_given_up()), [false, true, false]);
    // what was given up counts no more
    assert_eq!(places.waiting(), (5, 5 * (ANSWER + 10)));
    let more = waiting(&few, 3);
    few.took(1 << 20);
    assert!(!places.take(&Place::default(), &few), "everybody reads, and this one has much to read");
    assert!(places.take(&Place::default(), &places.answers()), "this one has nothing to read yet");
    drop((kept, more));
    assert_eq!(places.waiting(), (0, 0));
    assert!(places.take(&Place::default(), &few));
}

#[tokio::test]
async fn a_turn_that_comes_brings_no_place_when_its_connection_has_its_share_waiting_by_then() {
    let places = Places::new(1, usize::MAX);
    let (connection, work, next) = (places.answers(), Place::default(), Place::default());
    assert!(places.take(&work, &connection));
    let answers = async {
        let kept = waiting(&connection, 2);
        connection.took(1 << 20);
        drop(work);
        kept
    };
    let (came, kept) = tokio::join!(places.turn(&next, &connection), answers);
    assert!(!came && !places.are_taken());
    drop(kept);
    assert!(places.turn(&next, &connection).await);
}

#[tokio::test]
async fn the_calls_of_who_was_given_up_are_not_served_and_their_answers_do_not_count() {
    let places = Places::new(1, usize::MAX);
    let [hostile, other] = [(); 2].map(|()| places.answers());
    let (work, late) = (Place::default(), Place::default());
    assert!(places.take(&work, &other));
    let gone = async {
        hostile.give_up();
        drop(work);
    };
    let (came, ()) = tokio::join!(places.turn(&late, &hostile), gone);
    assert!(!came && !places.are_taken());
    assert!(!places.turn(&late, &hostile).await);
    let kept = waiting(&hostile, 3);
    assert_eq!(places.waiting(), (0, 0));
    drop(kept);
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn an_answer_that_its_server_works_on_or_that_ended_does_not_wait() {
    let places = Places::new(1, usize::MAX);
    let answers = places.answers();
    let answer = answers.begin(Place::default());
    assert_eq!(places.waiting(), (0, 0));
    let first = give(&answer, 10, 20);
    assert_eq!(places.waiting(), (1, ANSWER + 30));
    drop(first);
    let second = give(&answer, 20, 0);
    assert_eq!(places.waiting(), (1, ANSWER + 20));
    answer.taken();
    assert!(answers.waiting().is_none());
    drop(second);
    assert_eq!(places.waiting(), (0, 0));
    let third = give(&answer, 1, 0);
    drop((answer, third));
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn who_has_one_answer_has_a_moment_to_begin_however_many_others_have() {
    let (places, begun) = (Places::new(2, usize::MAX), Instant::now());
    let all: Vec<_> = (0..4).map(|_| places.answers()).collect();
    let kept: Vec<_> = all.iter().map(|answers| waiting(answers, 1)).collect();
    assert!(places.take(&Place::default(), &places.answers()), "this one has nothing to read yet");
    // unless the machine has stood still for longer than the moment
    assert!(begun.elapsed() >= GRACE || !all.iter().any(|answers| answers.is_given_up()));
    drop(kept);
}

#[test]
fn who_has_just_read_reads_when_the_next_answer_waits() {
    let places = Places::new(1, usize::MAX);
    let reading = places.answers();
    drop(waiting(&reading, 1));
    reading.took(1 << 20);
    let kept = waiting(&reading, 2);
    assert!(!places.take(&Place::default(), &reading), "there is no room");
    assert!(!reading.is_given_up());
    drop(kept);
}

#[tokio::test]
async fn who_holds_the_only_place_and_does_not_begin_is_given_up_while_a_call_waits_for_its_turn() {
    let places = Places::new(1, usize::MAX);
    let [hostile, other] = [(); 2].map(|()| places.answers());
    let work = Place::default();
    assert!(places.take(&work, &hostile));
    let answer = hostile.begin(work);
    let part = give(&answer, 10, 0);
    let next = Place::default();
    assert!(places.turn(&next, &other).await);
    assert!(hostile.is_given_up());
    drop((answer, part));
}

#[test]
fn who_holds_no_place_is_not_given_up_for_one() {
    let places = Places::new(4, usize::MAX);
    let [health, working] = [(); 2].map(|()| places.answers());
    let works: Vec<_> = (0..4).map(|_| Place::default()).collect();
    assert!(works.iter().all(|work| places.take(work, &working)));
    let kept = waiting(&health, 3);
    assert!(!places.take(&Place::default(), &working));
    assert!(!health.is_given_up());
    drop(kept);
}

#[test]
fn places_that_unread_answers_hold_go_to_others_but_those_of_work_do_not() {
    let places = Places::new(4, usize::MAX);
    let [hostile, other] = [(); 2].map(|()| places.answers());
    let holding = |answers: &Arc<Answers>, work: &Place| {
        assert!(places.take(work, answers));
        let answer = answers.begin(work.clone());
        let part = give(&answer, 10, 0);
        (answer, part)
    };
    let works: Vec<_> = (0..2).map(|_| Place::default()).collect();
    let kept: Vec<_> = works.iter().map(|work| holding(&hostile, work)).collect();
    let ended: Vec<_> = (0..1).map(|_| holding(&hostile, &Place::default())).collect();
    let others = holding(&other, &Place::default());
    other.took(1 << 20);
    assert!(places.are_taken());
    let [first, second] = [(); 2].map(|()| Place::default());
    assert!(places.take(&first, &other), "of the answer whose work has nobody else");
    assert!(hostile.is_given_up() && !other.is_given_up());
    assert!(!places.take(&second, &other), "the work goes on");
    drop(works);
    assert!(places.take(&second, &other));
    drop((kept, ended, others));
}

#[test]
fn who_holds_the_most_is_given_up_when_all_hold_more_than_there_is_room_for() {
    let places = Places::new(100, 100 << 10);
    let [small, large, reading] = [(); 3].map(|()| places.answers());
    let [of_small, of_large] = [&small, &large].map(Place::receiving);
    let answer = reading.begin(Place::default());
    let part = give(&answer, 40 << 10, 0);
    reading.took(1 << 20);
    assert!(of_small.received(10 << 10) && of_large.received(30 << 10));
    assert!(![&small, &large, &reading].iter().any(|answers| answers.is_given_up()));
    assert!(of_large.received(20 << 10));
    assert_eq!([&small, &large, &reading].map(|answers| answers.is_given_up()), [false, true, false]);
    // a call has a size of its own
    assert_eq!(places.waiting(), (1, ANSWER + ((4 + 10 + 40) << 10)));
    // what is given up counts no more, and nothing is counted of it
    assert!(of_large.received(90 << 10));
    drop((of_small, of_large));
    assert_eq!(places.waiting(), (1, ANSWER + (40 << 10)));
    drop((answer, part));
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn who_has_its_share_gets_no_more_while_what_is_held_can_not_be_given_up() {
    let places = Places::new(100, 100 << 10);
    let [gone, other] = [(); 2].map(|()| places.answers());
    let work = Place::receiving(&gone);
    assert!(work.received(95 << 10));
    // its client leaves, the work goes on
    drop(Look::new(gone, places.clone()));
    let call = Place::receiving(&other);
    assert!(call.received(1 << 10), "it has less than its share");
    assert!(!call.received(40 << 10));
    assert!(!other.is_given_up());
    drop(work);
    assert!(call.received(0));
    drop(call);
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn what_http2_has_counts_until_it_drops_it_and_waits_when_there_is_no_room_for_it() {
    let (places, _answers, mut look, answer) = begun();
    let first = give(&answer, 60, 40);
    assert_eq!(places.waiting(), (1, ANSWER + 100));
    let last = give(&answer, 40, 0);
    drop(first);
    assert_eq!(places.waiting(), (1, ANSWER + 40));
    // HTTP/2 has got all of it, and has not written yet
    drop(answer);
    assert_eq!(places.waiting(), (0, ANSWER + 40));
    // the socket takes no more
    look.blocks(true);
    write(&mut look);
    assert_eq!(places.waiting(), (0, ANSWER + 40));
    look.blocks(false);
    // it was looked for the first part, then for the last
    (0..2).for_each(|_| write(&mut look));
    assert_eq!(places.waiting(), (1, ANSWER + 40), "it was written as far as there is room");
    let rest = last.slice(1..);
    drop(last);
    assert_eq!(places.waiting(), (1, ANSWER + 40), "a byte is gone");
    drop(rest);
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn what_came_while_http2_wrote_is_not_stuck() {
    let (places, answers, mut look, answer) = begun();
    let first = give(&answer, 5, 0);
    answer.taken();
    look.has_read_all();
    let second = give(&answer, 6, 0);
    answer.taken();
    drop(first);
    look.reads();
    assert_eq!(places.waiting(), (0, ANSWER + 6));
    write(&mut look);
    assert_eq!(places.waiting(), (1, ANSWER + 6));
    // its client has room for it, and not for the next
    let third = give(&answer, 7, 0);
    answer.taken();
    drop(second);
    assert_eq!(places.waiting(), (1, ANSWER + 7));
    drop(third);
    assert_eq!(places.waiting(), (0, 0));
    // nothing of an answer that is given up counts
    let fourth = give(&answer, 8, 0);
    answers.give_up();
    assert_eq!(places.waiting(), (0, 0));
    let fifth = give(&answer, 9, 0);
    drop((answer, fourth, fifth, look));
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn answers_of_a_few_bytes_fill_the_bound_when_there_is_no_room_for_them_and_not_when_they_are_written() {
    let places = Places::new(4, usize::MAX);
    let [hostile, reading] = [(); 2].map(|()| places.answers());
    let mut looks = [&hostile, &reading].map(|answers| Look::new(Arc::clone(answers), places.clone()));
    // HTTP/2 has got all of them, and was not there to write since
    let ended = |(answer, part): (Answer, Bytes)| {
        drop(answer);
        part
    };
    let written: Vec<Bytes> = waiting(&reading, 1000).into_iter().map(ended).collect();
    assert!(places.take(&Place::default(), &reading));
    drop(written);
    let stuck: Vec<Bytes> = waiting(&hostile, 9).into_iter().map(ended).collect();
    assert_eq!(places.waiting(), (0, 9 * (ANSWER + 10)));
    looks.iter_mut().for_each(write);
    assert_eq!(places.waiting(), (9, 9 * (ANSWER + 10)));
    assert!(places.take(&Place::default(), &reading));
    assert!(hostile.is_given_up() && !reading.is_given_up());
    drop(stuck);
    assert_eq!(places.waiting(), (0, 0));
}

#[test]
fn answers_of_a_few_bytes_hold_no_more_than_there_is_room_for() {
    let places = Places::new(1000, 100 << 10);
    let hostile = places.answers();
    let kept: Vec<_> = (0..1000).map(|_| hostile.begin(Place::default())).map(|answer| give(&answer, 1, 0)).collect();
    assert!(hostile.is_given_up());
    assert_eq!(places.waiting(), (0, 0));
    drop(kept);
}
