//! Packet captures → what is heard of their sessions, on captures that are made by hand.
#![allow(clippy::unwrap_used, clippy::expect_used)] // tests: a panic is the report

mod bounds;
mod files;
mod joined;
mod secrets;
mod talk;
mod tcp;
mod tls;
