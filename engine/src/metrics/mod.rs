//! What the cores count. Histograms and reports join it later.

pub(crate) mod counters;
