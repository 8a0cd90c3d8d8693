//! Proof that `restante-proto` needs no operating system, on any machine and with no other target installed.
//!
//! This library is `no_std` and defines the panic handler, which the standard library defines too. The moment that
//! proto, or any crate under it, links `std`, the build fails: «error[E0152]: found duplicate lang item `panic_impl`
//! … first defined in crate `std` (which `memchr` depends on)», as seen with memchr's feature `std` switched on.
//! `cargo xtask test freestanding` builds it, and proto itself for a bare target where the toolchain has one.
//!
//! An allocator cannot be written without `unsafe`. That is why this crate stands outside the workspace, whose
//! crates forbid it; nothing here is part of the product.
#![no_std]

extern crate alloc;

use alloc::vec::Vec;
use core::alloc::{GlobalAlloc, Layout};

use restante_proto::body::{Form, Part, Progress, Stuffer};

/// An allocator that has nothing to give: this library is built, never run.
struct Nothing;

// SAFETY: a null pointer is how an allocator says that there is no memory, and nothing is ever given back.
unsafe impl GlobalAlloc for Nothing {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static ALLOCATOR: Nothing = Nothing;

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// Uses proto, so that its code and what it stands on is really in the library.
pub fn wire(message: &[u8], out: &mut Vec<u8>) -> bool {
    let mut stuffer = Stuffer::new(Form::Local, Part::Whole);
    let progress = stuffer.push(message, out);
    stuffer.finish(out);
    progress == Progress::More
}
