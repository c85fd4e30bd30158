//! Tells the worker where libtorch lies, so that it starts without any environment variable.
//!
//! `sandbox` itself is not linked to libtorch and gets no flag.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=migrations");
    // torch-sys found it, wherever the user keeps it, and says so to those that depend on it; without the
    // feature `torch` there is no torch-sys and no worker.
    #[expect(
        clippy::disallowed_methods,
        reason = "cargo speaks to build scripts through the environment"
    )]
    let Ok(libtorch) = std::env::var("DEP_TCH_LIBTORCH_LIB") else {
        return;
    };
    // The second and third are for a checkout that was moved, and for `bin/` beside `lib/`.
    for folder in [&libtorch, "$ORIGIN/../../.libtorch/lib", "$ORIGIN/../lib"] {
        println!("cargo:rustc-link-arg-bin=sandbox-worker=-Wl,-rpath,{folder}");
    }
    // The pinned libtorch_cpu names symbols of CUDA libraries that a machine without a card does not need.
    println!("cargo:rustc-link-arg-bin=sandbox-worker=-Wl,--allow-shlib-undefined");
}
