//! The help texts: they teach, and they change only on purpose.

use crate::world::World;

#[test]
fn the_help_texts_are_known() {
    let world = World::new();
    let mut text = String::new();
    for command in [
        "",
        "init",
        "data",
        "data prepare",
        "plan",
        "run",
        "study",
        "status",
        "serve",
        "show",
        "logs",
        "fit",
        "predict",
        "recipe",
        "report",
        "audit",
        "export",
        "bench",
        "doctor",
        "cancel",
        "gc",
        "import",
        "score",
        "db",
        "completions",
        "data list",
        "data inspect",
    ] {
        let mut args: Vec<&str> = command.split_whitespace().collect();
        args.push("--help");
        let ran = world.run(&args);
        assert_eq!(ran.code, 0, "{command}");
        text.push_str(&format!("$ sandbox {command} --help\n{}\n", ran.stdout));
    }
    insta::assert_snapshot!(text);
}

#[test]
fn the_program_is_not_linked_to_libtorch() {
    let ldd = std::process::Command::new("ldd")
        .arg(env!("CARGO_BIN_EXE_sandbox"))
        .output();
    match ldd {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(text.contains("libc.so"), "{text}");
            assert!(!text.contains("torch") && !text.contains("libc10"), "{text}");
        }
        Err(_) => crate::skip::skip("the_program_is_not_linked_to_libtorch", "no ldd"),
    }
}
