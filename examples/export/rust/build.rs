//! Compiles the exported network with the system's C compiler and hands its sizes to Rust.
//!
//! `CC` and `AR` name others than `cc` and `ar`; `EXPORTED` another folder than `../exported`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const SOURCES: [&str; 3] = ["classify", "classify_weights", "classify_vectors"];
const SIZES: [&str; 3] = ["IMAGE_ELEMENTS", "SCORES_ELEMENTS", "ARENA_BYTES"];

fn main() {
    println!("cargo:rerun-if-env-changed=EXPORTED");
    let exported = PathBuf::from(env::var("EXPORTED").unwrap_or("../exported".into()));
    println!("cargo:rerun-if-changed={}", exported.display());
    let out = PathBuf::from(env::var("OUT_DIR").unwrap());
    compile(&exported, &out);
    let header = fs::read_to_string(exported.join("classify.h"))
        .expect("an exported network; see README.md");
    let sizes: String = SIZES.iter().map(|name| constant(&header, name)).collect();
    fs::write(out.join("sizes.rs"), sizes).unwrap();
}

/// Makes a static library of the network and of its test's arrays, and links it.
fn compile(exported: &Path, out: &Path) {
    let library = out.join("libclassify.a");
    let mut archive = Command::new(env::var("AR").unwrap_or("ar".into()));
    archive.arg("crs").arg(&library);
    for name in SOURCES {
        let object = out.join(name).with_extension("o");
        let source = exported.join(name).with_extension("c");
        run(Command::new(env::var("CC").unwrap_or("cc".into()))
            .args(["-std=c99", "-O2", "-fPIC", "-c"])
            .arg(source)
            .arg("-o")
            .arg(&object));
        archive.arg(object);
    }
    run(&mut archive);
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=static=classify");
    println!("cargo:rustc-link-lib=m");
}

fn run(command: &mut Command) {
    let status = command.status().expect("a compiler of C");
    assert!(status.success(), "{command:?} failed");
}

/// Returns a macro of the header as a constant of Rust.
fn constant(header: &str, name: &str) -> String {
    let start = format!("#define CLASSIFY_{name} ");
    let value = header
        .lines()
        .find_map(|line| line.strip_prefix(&start))
        .unwrap_or_else(|| panic!("classify.h has no CLASSIFY_{name}"));
    format!("pub const {name}: usize = {value};\n")
}
