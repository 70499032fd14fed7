//! Tests over more than one file of this folder.

mod differential;
