//! The network computes what its exported test says, on any thread.

use std::thread;

use classify::{Classifier, Image, Scores};

extern "C" {
    static classify_test_image: Image;
    static classify_want_scores: Scores;
}

/// The image of the exported test, and the scores that an exact oracle computed of it.
fn known() -> (&'static Image, &'static Scores) {
    // SAFETY: constant arrays of these sizes in classify_vectors.c.
    unsafe { (&classify_test_image, &classify_want_scores) }
}

#[test]
fn scores_are_those_of_the_exported_test() {
    let (image, want) = known();
    for (got, want) in Classifier::new().scores(image).iter().zip(want) {
        let tolerance = 1e-4 * want.abs().max(1.0);
        assert!((got - want).abs() <= tolerance, "{got}, not {want}");
    }
}

#[test]
fn a_second_call_does_not_see_the_first() {
    let (image, _) = known();
    let mut classifier = Classifier::new();
    let first = classifier.scores(image);
    classifier.scores(&image.map(|value| 1.0 - value));
    assert_eq!(classifier.scores(image), first);
}

#[test]
fn threads_have_classifiers_of_their_own() {
    let (image, _) = known();
    let want = Classifier::new().scores(image);
    let calls: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || Classifier::new().scores(image)))
        .collect();
    for call in calls {
        assert_eq!(call.join().unwrap(), want);
    }
}
