//! A network of `depthwise export --name classify`, safe to call.

use std::ffi::c_void;

include!(concat!(env!("OUT_DIR"), "/sizes.rs"));

/// The network's input, as `classify.h` says it lies.
pub type Image = [f32; IMAGE_ELEMENTS];
/// What the network computes.
pub type Scores = [f32; SCORES_ELEMENTS];

extern "C" {
    fn classify(image: *const f32, scores: *mut f32, arena: *mut c_void);
}

/// The memory that calls compute in.
pub struct Classifier {
    arena: Box<[u8]>,
}

impl Classifier {
    pub fn new() -> Self {
        let arena = vec![0; ARENA_BYTES].into_boxed_slice();
        Self { arena }
    }

    /// Computes the scores of an image.
    pub fn scores(&mut self, image: &Image) -> Scores {
        let mut scores = [0.0; SCORES_ELEMENTS];
        // SAFETY: the three have the sizes that the header asks for, they do not overlap, and
        // nobody else has the arena meanwhile.
        unsafe {
            classify(
                image.as_ptr(),
                scores.as_mut_ptr(),
                self.arena.as_mut_ptr().cast(),
            );
        }
        scores
    }
}

impl Default for Classifier {
    fn default() -> Self {
        Self::new()
    }
}
