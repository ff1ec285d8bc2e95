//! Prints the scores of an image, a file of raw float32.

use std::{env, fs, process};

use classify::{Classifier, Image, IMAGE_ELEMENTS};

fn main() {
    let Some(path) = env::args().nth(1) else {
        eprintln!("usage: classify IMAGE");
        process::exit(2);
    };
    let Some(image) = read(&path) else {
        eprintln!("classify: an image is {IMAGE_ELEMENTS} floats; got {path}");
        process::exit(1);
    };
    for score in Classifier::new().scores(&image) {
        println!("{score}");
    }
}

fn read(path: &str) -> Option<Image> {
    let floats = fs::read(path)
        .ok()?
        .chunks(4)
        .map(|bytes| bytes.try_into().ok().map(f32::from_ne_bytes))
        .collect::<Option<Vec<f32>>>()?;
    floats.try_into().ok()
}
