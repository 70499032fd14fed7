//! WebSocket sessions: relayed frame by frame, counted, limited, and ended with a proper Close.

pub(crate) mod relay;
