//! The sources of sessions: dialogues and transcripts, packet captures, Dovecot's rawlogs. Each turns octets of a file into
//! what was [heard](crate::heard), in order, without secrets, and in bounded memory.

pub mod capture;
pub mod dialogue;
pub mod rawlog;
