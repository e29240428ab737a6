use super::super::answers::Look;
use super::super::{Answer, Place, Places};
use super::*;

fn waiting(answers: &Arc<Answers>, count: usize) -> Vec<Answer> {
    let begin = || answers.begin(Place::default());
    let begun: Vec<_> = (0..count).map(|_| begin()).collect();
    begun.iter().for_each(|answer| answer.offered(10));
    begun
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
    assert_eq!(places.waiting(), (5, 50));
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
    answer.offered(10);
    answer.offered(30);
    assert_eq!(places.waiting(), (1, 30));
    answer.taken();
    assert!(answers.waiting().is_none());
    answer.offered(1);
    drop(answer);
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
    answer.offered(10);
    let next = Place::default();
    assert!(places.turn(&next, &other).await);
    assert!(hostile.is_given_up());
    drop(answer);
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
        answer.offered(10);
        answer
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
    answer.offered(40 << 10);
    reading.took(1 << 20);
    assert!(of_small.received(10 << 10) && of_large.received(30 << 10));
    assert!(![&small, &large, &reading].iter().any(|answers| answers.is_given_up()));
    assert!(of_large.received(20 << 10));
    assert_eq!([&small, &large, &reading].map(|answers| answers.is_given_up()), [false, true, false]);
    // a call has a size of its own
    assert_eq!(places.waiting(), (1, (4 + 10 + 40) << 10));
    // what is given up counts no more, and nothing is counted of it
    assert!(of_large.received(90 << 10));
    drop((of_small, of_large));
    assert_eq!(places.waiting(), (1, 40 << 10));
    drop(answer);
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
fn what_http2_holds_counts_until_the_socket_took_as_much_or_all_is_written() {
    let places = Places::new(1, usize::MAX);
    let answers = places.answers();
    let mut look = Look::new(Arc::clone(&answers), places.clone());
    let answer = answers.begin(Place::default());
    answer.offered(100);
    answer.passed(60);
    answer.offered(40);
    assert_eq!(places.waiting(), (1, 100));
    look.wrote(50);
    drop(answer);
    assert_eq!(places.waiting(), (0, 10));
    // the socket takes no more
    look.blocks(true);
    look.has_read_all();
    look.reads();
    assert_eq!(places.waiting(), (0, 10));
    look.blocks(false);
    look.has_read_all();
    let answer = answers.begin(Place::default());
    answer.passed(5);
    look.reads();
    assert_eq!(places.waiting(), (0, 5), "what came since is not written yet");
    drop(look);
    assert_eq!(places.waiting(), (0, 0));
    answer.passed(5);
    assert_eq!(places.waiting(), (0, 0));
}
