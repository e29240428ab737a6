//! The place where tests make the server die: before and after each side effect on a cluster.
//!
//! Only built with the feature `failpoints`, which the product does not have. The point is named `effect`; the environment
//! variable `FAILPOINTS` says what it does, in the words of the crate `fail`: `effect=3*off->return` ends the process at
//! the fourth place, as kill -9 would, and `effect=3*off->1*sleep(500)` makes it wait there.

/// What `FAILPOINTS` asks for; it acts while this lives.
pub struct Points {
    #[cfg(feature = "failpoints")]
    _scenario: fail::FailScenario<'static>,
}

/// Reads `FAILPOINTS`. Without the feature there is nothing that could act.
pub fn setup() -> Points {
    Points {
        #[cfg(feature = "failpoints")]
        _scenario: fail::FailScenario::setup(),
    }
}

/// A place just before or just after a side effect.
#[cfg(feature = "failpoints")]
pub(crate) fn effect() {
    // no destructor and no exit handler runs
    fail::fail_point!("effect", |_| std::process::abort());
}

/// A place just before or just after a side effect.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub(crate) fn effect() {}

/// Runs `call`, with a place on both sides when it is a side effect.
pub(crate) async fn around<T>(is_effect: bool, call: impl Future<Output = T>) -> T {
    if is_effect {
        effect();
    }
    let answer = call.await;
    if is_effect {
        effect();
    }
    answer
}
