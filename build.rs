//! Tells the worker where libtorch lies, so that it starts without any environment variable.
//!
//! `sandbox` itself is not linked to libtorch and gets no flag.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=migrations");
    // torch-sys found it, wherever the user keeps it, and says so to those that depend on it.
    if let Ok(folder) = std::env::var("DEP_TCH_LIBTORCH_LIB") {
        println!("cargo:rustc-link-arg-bin=sandbox-worker=-Wl,-rpath,{folder}");
        // The CUDA build of libtorch_cpu names symbols of libraries that a machine without a card does not need.
        println!("cargo:rustc-link-arg-bin=sandbox-worker=-Wl,--allow-shlib-undefined");
    }
}
