//! Too little memory on the device: LibTorch says so by a panic in the middle of a step, people want a sentence.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use thiserror::Error;

/// How LibTorch and CUDA put it.
const SAYS: [&str; 3] = [
    "out of memory",
    "can't allocate memory",
    "STATUS_ALLOC_FAILED",
];

/// The device could not hold what was asked of it.
#[derive(Debug, Error, PartialEq, Eq)]
#[error(
    "the device has too little memory ({detail}): take fewer rows (data.rows, --batch), raise accumulate, or set recompute = true"
)]
pub struct TooLittleMemory {
    detail: String,
}

/// Does something on a device; other panics go on.
pub fn guarded<T>(action: impl FnOnce() -> T) -> Result<T, TooLittleMemory> {
    catch_unwind(AssertUnwindSafe(action)).map_err(|panic| match complaint(panic.as_ref()) {
        Some(detail) => TooLittleMemory { detail },
        None => resume_unwind(panic),
    })
}

/// What a panic says, in one line, if it is about memory.
pub fn complaint(panic: &(dyn Any + Send)) -> Option<String> {
    let text = match (panic.downcast_ref::<String>(), panic.downcast_ref::<&str>()) {
        (Some(text), _) => text.as_str(),
        (None, Some(text)) => text,
        (None, None) => return None,
    };
    // `unwrap` prints what it was given with its line breaks spelled out; behind the first is C++'s own stack.
    let mut pieces = text.lines().flat_map(|line| line.split("\\n"));
    let line = pieces.find(|piece| SAYS.iter().any(|says| piece.contains(says)))?;
    // C++ puts the place in its own source in front; `unwrap` puts the name of an error type there.
    let from = ["CUDA out of memory", "DefaultCPUAllocator"]
        .iter()
        .find_map(|says| line.find(says));
    Some(line[from.unwrap_or(0)..].trim_end_matches("\")").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_panics_about_memory_become_errors() {
        let panicked = guarded(|| -> u8 {
            panic!(
                "called `Result::unwrap()` on an `Err` value: Torch(\"CUDA out of memory. Tried to allocate 2.00 GiB.\\nmore\")"
            )
        });
        let said = panicked.expect_err("no memory").to_string();
        assert!(
            said.contains("(CUDA out of memory. Tried to allocate 2.00 GiB."),
            "{said}"
        );
        assert!(said.contains("recompute = true"));
        assert!(!said.contains("more)"), "{said}");
        assert_eq!(guarded(|| 7), Ok(7));
        let other = catch_unwind(|| guarded(|| panic!("a bug")));
        assert!(other.is_err());
    }

    #[cfg(feature = "tch")]
    #[test]
    fn libtorch_is_recognised_by_what_it_says() {
        let huge = guarded(|| tch::Tensor::zeros([1 << 50], tch::kind::FLOAT_CPU));
        assert!(huge.is_err());
    }
}
