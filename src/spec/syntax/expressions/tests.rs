//! Conditions: what they mean, and what is said of wrong ones.

use proptest::prelude::*;

use super::*;

const NAMES: &[Name] = &[
    Name {
        name: "lr",
        kind: Kind::Number,
    },
    Name {
        name: "tokens",
        kind: Kind::Number,
    },
    Name {
        name: "params",
        kind: Kind::Number,
    },
    Name {
        name: "loss",
        kind: Kind::Number,
    },
    Name {
        name: "model",
        kind: Kind::Text,
    },
    Name {
        name: "schedule.name",
        kind: Kind::Word(&["wsd", "cosine"]),
    },
];

fn lookup(name: &str) -> Option<Value> {
    match name {
        "lr" => Some(Value::Number(0.01)),
        "tokens" => Some(Value::Number(2000.0)),
        "params" => Some(Value::Number(100.0)),
        "model" => Some(Value::Text("9M".to_owned())),
        "schedule.name" => Some(Value::Text("wsd".to_owned())),
        _ => None,
    }
}

fn holds(text: &str) -> bool {
    Expr::parse(text, NAMES).expect(text).holds(&lookup)
}

#[test]
fn conditions_mean_what_they_say() {
    for held in [
        "lr == 1e-2",
        "lr == 1%",
        "lr >= .01 and model == 9m",
        "1e-3 < lr",
        "tokens == 20N",
        "tokens == 2K and tokens > params",
        "model in [6K, 9M]",
        "model not in [6K]",
        "not model in [6K]",
        "lr > 1 or (schedule.name == wsd and not lr < 1e-3)",
        "schedule.name == 'wsd'",
        "lr > 1 or lr < 1 and lr > 0",
    ] {
        assert!(holds(held), "{held}");
    }
    for failed in [
        "lr != 0.01",
        "lr > 0.01",
        "model != 9M",
        "model in []",
        "(lr > 1 or lr < 1) and lr > 2",
        "loss < 3",
        "loss >= 3",
    ] {
        assert!(!holds(failed), "{failed}");
    }
}

#[test]
fn mistakes_have_their_column_and_a_suggestion() {
    let wrong = |text: &str| {
        let error = Expr::parse(text, NAMES).expect_err(text);
        (error.column, error.suggestion.unwrap_or_default())
    };
    assert_eq!(wrong("lr == 1 and tokns > 3"), (13, "tokens".to_owned()));
    assert_eq!(wrong("lr = 1"), (4, "==".to_owned()));
    assert_eq!(wrong("lr == 1 && lr == 2"), (9, "and".to_owned()));
    assert_eq!(wrong("schedule.name == cosin"), (18, "cosine".to_owned()));
    assert_eq!(wrong("name == wsd"), (1, "schedule.name".to_owned()));
    assert_eq!(wrong("model < 9M"), (1, "params".to_owned()));
    for (text, column) in [
        ("", 1),
        ("lr", 3),
        ("lr ==", 6),
        ("lr == x", 7),
        ("lr == nan", 7),
        ("(lr == 1", 9),
        ("lr == 1)", 8),
        ("lr in 1", 7),
        ("lr in [1 2]", 10),
        ("lr == 'x", 7),
        ("lr == model", 7),
        ("not", 4),
    ] {
        assert_eq!(wrong(text).0, column, "{text}");
    }
    assert!(Expr::parse(&"(".repeat(10_000), NAMES).is_err());
    assert!(Expr::parse(&"not ".repeat(10_000), NAMES).is_err());
}

proptest! {
    #[test]
    fn no_text_is_too_strange_to_be_refused(text in "[a-z0-9 .()<>=!&|'\"\\[\\],%N-]{0,40}|\\PC{0,20}") {
        if let Ok(expr) = Expr::parse(&text, NAMES) {
            let _ = expr.holds(&lookup);
        }
    }
}
