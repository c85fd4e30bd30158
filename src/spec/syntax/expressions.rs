//! Conditions on named values: `lr >= 1e-2 and model == 9M`, in sweeps (`when`, `exclude`) and for `--where`.
//!
//! Refuses to know where the values come from.
//!
//! ```text
//! condition  = term { "or" term }
//! term       = factor { "and" factor }
//! factor     = "not" factor | "(" condition ")" | comparison
//! comparison = value ("==" | "!=" | "<" | "<=" | ">" | ">=") value | value ["not"] "in" "[" value { "," value } "]"
//! value      = a name, a number with its unit (`1e-2`, `128Ki`, `10%`, `20N`), a word, or text between quotes
//! ```
//!
//! One side of a comparison must be a name that is known. A comparison with a value that is missing is false.

pub use crate::spec::syntax::lex::ExprError;
use crate::spec::syntax::lex::{Operand, Token, TokenKind, error, number, tokens};
use crate::spec::syntax::mistakes::closest;

/// The value of a name.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Number(f64),
    /// A text; compared whatever the case.
    Text(String),
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    Number,
    Text,
    /// One of these words.
    Word(&'a [&'a str]),
}

/// A name that conditions may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name<'a> {
    pub name: &'a str,
    /// What it stands for.
    pub kind: Kind<'a>,
}

/// A condition that was read and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Expr(Node);

#[derive(Debug, Clone, PartialEq)]
enum Node {
    All(Vec<Self>),
    Any(Vec<Self>),
    Not(Box<Self>),
    Compare(Operand, Op, Operand),
    In(Operand, Vec<Operand>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Equal,
    NotEqual,
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

impl Op {
    /// The operator, if it is one.
    fn find(text: &str) -> Option<Self> {
        match text {
            "==" => Some(Self::Equal),
            "!=" => Some(Self::NotEqual),
            "<" => Some(Self::Less),
            "<=" => Some(Self::LessEqual),
            ">" => Some(Self::Greater),
            ">=" => Some(Self::GreaterEqual),
            _ => None,
        }
    }

    fn is_order(self) -> bool {
        match self {
            Self::Equal | Self::NotEqual => false,
            Self::Less | Self::LessEqual | Self::Greater | Self::GreaterEqual => true,
        }
    }
}

/// Deeper nesting than anybody reads.
const DEPTH_MAX: usize = 32;

/// Relative difference below which two numbers are one: a value that was written and one that was computed.
const EQUAL_WITHIN: f64 = 1e-9;

impl Expr {
    /// Reads a condition on `names`.
    pub fn parse(text: &str, names: &[Name]) -> Result<Self, ExprError> {
        let mut parser = Reader {
            tokens: tokens(text)?,
            position: 0,
            end: text.chars().count() + 1,
            names,
        };
        let node = parser.condition(0)?;
        match parser.next() {
            None => Ok(Self(node)),
            Some(token) => Err(error(
                token.column,
                format!("`{}` is one too many; expected `and`, `or` or the end", token.text),
                match token.text.as_str() {
                    "&" | "&&" => Some("and"),
                    "|" | "||" => Some("or"),
                    _ => None,
                },
            )),
        }
    }

    /// Whether the condition holds for the values that `lookup` gives; `params` gives what `N` means.
    pub fn holds(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> bool {
        self.0.holds(lookup)
    }

    /// The names that it uses.
    pub fn names(&self) -> Vec<&str> {
        let mut names = Vec::new();
        self.0.names(&mut names);
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl Node {
    fn holds(&self, lookup: &dyn Fn(&str) -> Option<Value>) -> bool {
        match self {
            Self::All(nodes) => nodes.iter().all(|node| node.holds(lookup)),
            Self::Any(nodes) => nodes.iter().any(|node| node.holds(lookup)),
            Self::Not(node) => !node.holds(lookup),
            Self::Compare(left, op, right) => compare(left, *op, right, lookup),
            Self::In(left, list) => list.iter().any(|right| compare(left, Op::Equal, right, lookup)),
        }
    }

    fn names<'n>(&'n self, names: &mut Vec<&'n str>) {
        let mut add = |operand: &'n Operand| match operand {
            Operand::Name(name) => names.push(name),
            Operand::PerParam(_) => names.push("params"),
            Operand::Number(_) | Operand::Text(_) => {}
        };
        match self {
            Self::All(nodes) | Self::Any(nodes) => nodes.iter().for_each(|node| node.names(names)),
            Self::Not(node) => node.names(names),
            Self::Compare(left, _, right) => {
                add(left);
                add(right);
            }
            Self::In(left, list) => {
                add(left);
                list.iter().for_each(add);
            }
        }
    }
}

fn compare(left: &Operand, op: Op, right: &Operand, lookup: &dyn Fn(&str) -> Option<Value>) -> bool {
    let value = |operand: &Operand| match operand {
        Operand::Name(name) => lookup(name),
        Operand::Number(number) => Some(Value::Number(*number)),
        Operand::PerParam(ratio) => match lookup("params") {
            Some(Value::Number(params)) => Some(Value::Number(ratio * params)),
            Some(Value::Text(_)) | None => None,
        },
        Operand::Text(text) => Some(Value::Text(text.clone())),
    };
    match (value(left), value(right)) {
        (Some(Value::Number(left)), Some(Value::Number(right))) => {
            let equal = (left - right).abs() <= EQUAL_WITHIN * left.abs().max(right.abs());
            match op {
                Op::Equal => equal,
                Op::NotEqual => !equal,
                Op::Less => left < right && !equal,
                Op::LessEqual => left < right || equal,
                Op::Greater => left > right && !equal,
                Op::GreaterEqual => left > right || equal,
            }
        }
        (Some(Value::Text(left)), Some(Value::Text(right))) => match op {
            Op::Equal => left.eq_ignore_ascii_case(&right),
            Op::NotEqual => !left.eq_ignore_ascii_case(&right),
            Op::Less | Op::LessEqual | Op::Greater | Op::GreaterEqual => false,
        },
        (Some(_), Some(_)) | (None, _) | (_, None) => false,
    }
}

struct Reader<'a> {
    tokens: Vec<Token>,
    position: usize,
    /// The column after the last character.
    end: usize,
    names: &'a [Name<'a>],
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.position).cloned();
        self.position += usize::from(token.is_some());
        token
    }

    /// Takes the next piece if it is this word or symbol.
    fn takes(&mut self, text: &str) -> bool {
        let found = self
            .tokens
            .get(self.position)
            .is_some_and(|token| token.kind != TokenKind::Quoted && token.text == text);
        self.position += usize::from(found);
        found
    }

    fn condition(&mut self, depth: usize) -> Result<Node, ExprError> {
        let mut terms = vec![self.term(depth)?];
        while self.takes("or") {
            terms.push(self.term(depth)?);
        }
        Ok(Node::Any(terms))
    }

    fn term(&mut self, depth: usize) -> Result<Node, ExprError> {
        let mut factors = vec![self.factor(depth)?];
        while self.takes("and") {
            factors.push(self.factor(depth)?);
        }
        Ok(Node::All(factors))
    }

    fn factor(&mut self, depth: usize) -> Result<Node, ExprError> {
        if depth > DEPTH_MAX {
            let column = self.tokens.get(self.position).map_or(self.end, |t| t.column);
            return Err(error(column, format!("nested deeper than {DEPTH_MAX} levels"), None));
        }
        if self.takes("not") {
            return Ok(Node::Not(Box::new(self.factor(depth + 1)?)));
        }
        if self.takes("(") {
            let node = self.condition(depth + 1)?;
            return if self.takes(")") {
                Ok(node)
            } else {
                Err(self.expected("`)`"))
            };
        }
        self.comparison()
    }

    fn expected(&mut self, what: &str) -> ExprError {
        match self.next() {
            Some(token) => error(token.column, format!("expected {what}, found `{}`", token.text), None),
            None => error(self.end, format!("expected {what} at the end"), None),
        }
    }

    fn comparison(&mut self) -> Result<Node, ExprError> {
        let left = self.value()?;
        let negated = self.takes("not");
        if self.takes("in") {
            let node = self.membership(&left)?;
            return Ok(if negated { Node::Not(Box::new(node)) } else { node });
        }
        let op = match self.tokens.get(self.position) {
            Some(token) if token.text == "=" && token.kind == TokenKind::Symbol => {
                return Err(error(token.column, "a comparison is written `==`", Some("==")));
            }
            Some(token) if token.kind == TokenKind::Symbol => Op::find(&token.text),
            Some(_) | None => None,
        };
        let Some(op) = op.filter(|_| !negated) else {
            return Err(self.expected("a comparison such as `==`, `<=` or `in [..]`"));
        };
        self.position += 1;
        let right = self.value()?;
        match (self.named(&left), self.named(&right)) {
            (Some(name), Some(other)) => {
                let number = |name: Name| name.kind == Kind::Number;
                if number(name) != number(other) {
                    let message = format!("`{}` and `{}` cannot be compared", name.name, other.name);
                    return Err(error(right.column, message, None));
                }
                let operand = Operand::Name(other.name.to_owned());
                Ok(Node::Compare(ordered(name, op, &left)?, op, operand))
            }
            (Some(name), None) => Ok(Node::Compare(ordered(name, op, &left)?, op, literal(name, &right)?)),
            (None, Some(name)) => Ok(Node::Compare(literal(name, &left)?, op, ordered(name, op, &right)?)),
            (None, None) => Err(self.unknown(&left, &right)),
        }
    }

    fn membership(&mut self, left: &Token) -> Result<Node, ExprError> {
        if !self.takes("[") {
            return Err(self.expected("a list such as `[9M, 30M]`"));
        }
        let Some(name) = self.named(left) else {
            return Err(self.unknown(left, left));
        };
        let mut list = Vec::new();
        while !self.takes("]") {
            let token = self.value()?;
            list.push(literal(name, &token)?);
            if !self.takes(",") && self.tokens.get(self.position).is_none_or(|t| t.text != "]") {
                return Err(self.expected("`,` or `]`"));
            }
        }
        Ok(Node::In(Operand::Name(name.name.to_owned()), list))
    }

    fn value(&mut self) -> Result<Token, ExprError> {
        match self.tokens.get(self.position) {
            Some(token)
                if token.kind != TokenKind::Symbol
                    && !(token.kind == TokenKind::Word
                        && matches!(token.text.as_str(), "and" | "or" | "not" | "in")) =>
            {
                let token = token.clone();
                self.position += 1;
                Ok(token)
            }
            Some(_) | None => Err(self.expected("a name or a value")),
        }
    }

    /// The known name that a piece stands for.
    fn named(&self, token: &Token) -> Option<Name<'a>> {
        if token.kind == TokenKind::Quoted {
            return None;
        }
        self.names.iter().copied().find(|name| name.name == token.text)
    }

    /// Blames the side that looks like a name.
    fn unknown(&self, left: &Token, right: &Token) -> ExprError {
        let is_number = |token: &Token| number(&token.text).is_some();
        let blamed = if is_number(left) && !is_number(right) {
            right
        } else {
            left
        };
        let known = self.names.iter().map(|name| name.name);
        let suggestion = closest(&blamed.text, known.clone()).or_else(|| {
            // `name` for `schedule.name`
            known
                .clone()
                .find(|name| name.rsplit('.').next() == Some(blamed.text.as_str()))
        });
        ExprError {
            unknown: Some(blamed.text.clone()),
            ..error(blamed.column, format!("there is no `{}` here", blamed.text), suggestion)
        }
    }
}

/// A name on one side of a comparison, if it can be ordered when it must.
fn ordered(name: Name, op: Op, token: &Token) -> Result<Operand, ExprError> {
    if op.is_order() && name.kind != Kind::Number {
        let message = format!("`{}` has no order; compare it with `==` or `in [..]`", name.name);
        return Err(error(token.column, message, (name.name == "model").then_some("params")));
    }
    Ok(Operand::Name(name.name.to_owned()))
}

/// The value that `name` is compared with.
fn literal(name: Name, token: &Token) -> Result<Operand, ExprError> {
    match name.kind {
        Kind::Number => number(&token.text).ok_or_else(|| {
            let message = format!("`{}` is a number, `{}` is none", name.name, token.text);
            error(token.column, message, None)
        }),
        Kind::Text => Ok(Operand::Text(token.text.clone())),
        Kind::Word(words) => {
            if words.iter().any(|word| word.eq_ignore_ascii_case(&token.text)) {
                return Ok(Operand::Text(token.text.clone()));
            }
            let message = format!(
                "`{}` is never `{}`; it is one of {}",
                name.name,
                token.text,
                words.join(", ")
            );
            let near = closest(&token.text, words.iter().copied());
            Err(error(token.column, message, near))
        }
    }
}

#[cfg(test)]
mod tests;
