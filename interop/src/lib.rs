//! Real mail clients against the real server: what their tests share.

mod poll;
