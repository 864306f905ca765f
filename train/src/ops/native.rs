//! The one module with `unsafe`: calls of `native.cpp`, what tch 0.22 does not bind.
//!
//! LibTorch's own complaints become panics with its message, as in tch and burn-tch.
#![expect(unsafe_code, reason = "LibTorch is a C++ library")]

use std::ffi::{CStr, c_char};
use std::ptr::{null, null_mut};

use tch::Tensor;

/// `at::Tensor`, by another name than tch's, whose own is private to its bindings.
type Raw = std::ffi::c_void;

unsafe extern "C" {
    fn lcl_gradients(
        output: *const Raw,
        gradient: *const Raw,
        leaves: *const *const Raw,
        count: i64,
        gradients: *mut *mut Raw,
    ) -> *const c_char;
    fn lcl_attention_by_segments(
        q: *const Raw,
        k: *const Raw,
        v: *const Raw,
        starts: *const Raw,
        longest: i64,
        output: *mut *mut Raw,
    ) -> *const c_char;
    fn lcl_adamw(
        parameter: *mut Raw,
        gradient: *const Raw,
        first: *mut Raw,
        second: *mut Raw,
        step: *const Raw,
        lr: f64,
        beta_1: f64,
        beta_2: f64,
        decay: f64,
        epsilon: f64,
        scale: *const Raw,
        skip: *const Raw,
    ) -> *const c_char;
    fn lcl_pinned(host: *const Raw, output: *mut *mut Raw) -> *const c_char;
    fn lcl_norms(tensors: *const *const Raw, count: i64, output: *mut *mut Raw) -> *const c_char;
    fn lcl_event_record(device: i64, event: *mut *mut Raw) -> *const c_char;
    fn lcl_event_query(event: *const Raw, done: *mut bool) -> *const c_char;
    fn lcl_event_wait(event: *const Raw) -> *const c_char;
    fn lcl_event_free(event: *mut Raw);
    fn lcl_peak_memory(device: i64, reset: bool, peak: *mut i64) -> *const c_char;
}

fn raw(tensor: &Tensor) -> *const Raw {
    tensor.as_ptr().cast()
}

fn raws(tensors: &[Tensor]) -> Vec<*const Raw> {
    tensors.iter().map(raw).collect()
}

/// Takes over a tensor that a call has made.
fn owned(tensor: *mut Raw) -> Tensor {
    // SAFETY: `native.cpp` made it with `new` and gave it away; tch frees it with `delete`.
    unsafe { Tensor::from_ptr(tensor.cast()) }
}

#[track_caller]
fn check(complaint: *const c_char) {
    if !complaint.is_null() {
        // SAFETY: a string that lives until this thread's next call.
        let message = unsafe { CStr::from_ptr(complaint) }.to_string_lossy();
        panic!("LibTorch: {message}");
    }
}

/// Gradients of `sum(output · gradient)` for leaves that ask for one, in order. The graph is gone afterwards.
pub(super) fn gradients(
    output: &Tensor,
    gradient: &Tensor,
    leaves: &[Tensor],
) -> Vec<Option<Tensor>> {
    let mut found = vec![null_mut(); leaves.len()];
    let pointers = raws(leaves);
    // SAFETY: tensors outlive the call; `found` has a place for each leaf.
    check(unsafe {
        lcl_gradients(
            raw(output),
            raw(gradient),
            pointers.as_ptr(),
            leaves.len() as i64,
            found.as_mut_ptr(),
        )
    });
    found
        .into_iter()
        .map(|tensor| (!tensor.is_null()).then(|| owned(tensor)))
        .collect()
}

/// Causal attention within segments on CUDA. `q`, `k`, `v` `[tokens, H, d]`, `starts` `[segments + 1]` int32.
pub(super) fn attention_by_segments(
    [q, k, v]: [&Tensor; 3],
    starts: &Tensor,
    longest: i64,
) -> Tensor {
    let mut output = null_mut();
    // SAFETY: tensors outlive the call.
    check(unsafe {
        lcl_attention_by_segments(
            raw(q),
            raw(k),
            raw(v),
            raw(starts),
            longest,
            &raw mut output,
        )
    });
    owned(output)
}

/// Numbers of one AdamW step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) lr: f64,
    pub(crate) beta_1: f64,
    pub(crate) beta_2: f64,
    pub(crate) decay: f64,
    pub(crate) epsilon: f64,
}

/// One parameter's AdamW step in place, moments too. `step` is a float32 scalar, 1 for the first; the gradient is
/// divided by `scale`, which may change it, and where `skip` is 1 nothing happens: both float32 scalars.
pub(super) fn adamw(
    parameter: &mut Tensor,
    gradient: &Tensor,
    [first, second]: [&mut Tensor; 2],
    step: &Tensor,
    rates: Rates,
    scale: Option<&Tensor>,
    skip: &Tensor,
) {
    // SAFETY: tensors outlive the call; those that change are borrowed mutably.
    check(unsafe {
        lcl_adamw(
            parameter.as_mut_ptr().cast(),
            raw(gradient),
            first.as_mut_ptr().cast(),
            second.as_mut_ptr().cast(),
            raw(step),
            rates.lr,
            rates.beta_1,
            rates.beta_2,
            rates.decay,
            rates.epsilon,
            scale.map_or(null(), raw),
            raw(skip),
        )
    });
}

/// A copy that a GPU can fetch by itself, while the host goes on.
pub(super) fn pinned(host: &Tensor) -> Tensor {
    let mut output = null_mut();
    // SAFETY: the tensor outlives the call.
    check(unsafe { lcl_pinned(raw(host), &raw mut output) });
    owned(output)
}

/// L2 norm of each tensor, `[n]` float64.
pub(crate) fn norms(tensors: &[Tensor]) -> Tensor {
    let mut output = null_mut();
    let pointers = raws(tensors);
    // SAFETY: tensors outlive the call.
    check(unsafe { lcl_norms(pointers.as_ptr(), tensors.len() as i64, &raw mut output) });
    owned(output)
}

/// A point in the list of what a GPU has been told to do.
#[derive(Debug)]
pub(crate) struct Event(*mut Raw);

// SAFETY: CUDA events may be used from any thread.
unsafe impl Send for Event {}

impl Event {
    /// Behind everything that this thread has told GPU `device` so far.
    pub(super) fn record(device: usize) -> Self {
        let mut event = null_mut();
        // SAFETY: the event is taken over.
        check(unsafe { lcl_event_record(device as i64, &raw mut event) });
        Self(event)
    }

    /// Whether the GPU is past it.
    pub(crate) fn is_past(&self) -> bool {
        let mut done = false;
        // SAFETY: the event lives as long as `self`.
        check(unsafe { lcl_event_query(self.0, &raw mut done) });
        done
    }

    /// Returns once the GPU is past it.
    pub(crate) fn wait(&self) {
        // SAFETY: the event lives as long as `self`.
        check(unsafe { lcl_event_wait(self.0) });
    }
}

impl Drop for Event {
    fn drop(&mut self) {
        // SAFETY: made by `lcl_event_record`, freed once.
        unsafe { lcl_event_free(self.0) }
    }
}

/// The most bytes that tensors have held on GPU `device` since the last `reset`.
pub(super) fn peak_memory(device: usize, reset: bool) -> u64 {
    let mut peak = 0;
    // SAFETY: an integer is written.
    check(unsafe { lcl_peak_memory(device as i64, reset, &raw mut peak) });
    peak as u64
}
