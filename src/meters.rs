//! What the watcher sees, as gauges: migrations, their shards, mounts, diffs, ways back.
//!
//! A gauge is read when somebody looks: Prometheus, or the exporter to OTLP. Series exist as long as what they are about; their
//! number is bounded, and what is left out is counted.

mod figures;
mod gauges;

use std::sync::{Arc, Mutex, PoisonError};

pub use figures::Figures;
pub use gauges::{GAUGES, Gauge};

use crate::telemetry::metrics;
use crate::watch::Receiver;

/// The newest snapshot, sorted once for all gauges.
struct Newest {
    seen: Receiver,
    figures: Mutex<Arc<Figures>>,
}

impl Newest {
    fn figures(&self) -> Arc<Figures> {
        let snapshot = Arc::clone(&self.seen.borrow());
        let mut kept = self.figures.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.is_of(&snapshot) {
            *kept = Arc::new(Figures::of(snapshot, kept.last_success()));
        }
        Arc::clone(&kept)
    }
}

/// Makes the gauges; without effect when the process has no meters.
pub fn observe(seen: Receiver) {
    let Some(meter) = metrics::meter() else { return };
    let first = Figures::of(Arc::clone(&seen.borrow()), None);
    let newest = Arc::new(Newest { seen, figures: Mutex::new(Arc::new(first)) });
    for gauge in GAUGES {
        let newest = Arc::clone(&newest);
        let read = move |observer: &dyn opentelemetry::metrics::AsyncInstrument<f64>| {
            let figures = newest.figures();
            if figures.is_something() {
                let now = jiff::Timestamp::now().as_second();
                (gauge.read)(&figures, now, &mut |labels, value| observer.observe(value, labels));
            }
        };
        meter
            .f64_observable_gauge(gauge.name)
            .with_unit(gauge.unit)
            .with_description(gauge.help)
            .with_callback(read)
            .build();
    }
}
