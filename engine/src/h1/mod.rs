//! HTTP/1.1 towards clients: reading heads, and the hand-over of an upgraded connection.

pub(crate) mod read_head;
pub(crate) mod upgrade;
