// check_rust.rs - Rust's checks: fragile, send_wrapper, and what PyO3 does for `unsendable`.
// SPDX-License-Identifier: MIT

use std::arch::asm;
use std::ops::Deref;
use std::thread::{current, ThreadId};

// opaque() of check.h.
#[inline(always)]
fn opaque<T>(mut object: *const T) -> *const T {
	unsafe { asm!("/* {} */", inout(reg) object, options(nostack, preserves_flags)) };
	object
}

#[inline(always)]
fn repeat<T>(n: u64, mine: &T, check: impl Fn(&T)) {
	let mut object: *const T = mine;
	for _ in 0..n {
		object = opaque(object);
		check(unsafe { &*object });
	}
}

#[cfg_attr(shared, export_name = "check_fragile_shared")]
#[cfg_attr(not(shared), export_name = "check_fragile")]
pub extern "C" fn fragile(n: u64) {
	repeat(n, &fragile::Fragile::new(0u64), |object| {
		object.get();
	});
}

#[cfg_attr(shared, export_name = "check_send_wrapper_shared")]
#[cfg_attr(not(shared), export_name = "check_send_wrapper")]
pub extern "C" fn send_wrapper(n: u64) {
	repeat(n, &send_wrapper::SendWrapper::new(0u64), |object| {
		let _ = object.deref();
	});
}

// PyO3's ThreadCheckerImpl::ensure().
struct Unsendable(ThreadId);

#[cfg_attr(shared, export_name = "check_pyo3_shared")]
#[cfg_attr(not(shared), export_name = "check_pyo3")]
pub extern "C" fn pyo3(n: u64) {
	repeat(n, &Unsendable(current().id()), |object| {
		assert_eq!(current().id(), object.0, "unsendable, but sent to another thread");
	});
}
