//! Executes parsed templates, as Go's `text/template` does.

use std::collections::BTreeMap;
use std::rc::Rc;

use gotmpl::parse::{BranchNode, CommandNode, Expr, ListNode, Node, Number, PipeNode, SmolStr};
use zeroize::Zeroizing;

use super::functions::{self, Call, Fault};
use super::value::{Element, Text, Value, Width};
use super::{Field, Input, Missing, Set, Surroundings, TemplateError, json, print};
use crate::secret::SecretText;

/// What one execution may cost: far more than any template of use, far less than a second.
pub(super) struct Budget {
    steps: u64,
    bytes: u64,
}

const STEPS: u64 = 2_000_000;
/// All that functions compute together, whether it is written or not.
const BYTES: u64 = 64 << 20;
/// A Secret holds 1 MiB.
const LONGEST_OUTPUT: usize = 4 << 20;
/// Blocks, parentheses and templates inside each other, together. Each level takes a few KiB of a stack
/// that may have 2 MiB in all.
const DEEPEST: usize = 64;

impl Budget {
    /// All that one execution may take.
    pub(super) fn new() -> Self {
        Self { steps: STEPS, bytes: BYTES }
    }

    /// Takes `n` steps.
    pub(super) fn step(&mut self, n: u64) -> Result<(), Fault> {
        self.steps = self.steps.checked_sub(n).ok_or(Fault::Exhausted("compute"))?;
        Ok(())
    }

    /// Takes what `n` bytes cost, before they are made.
    pub(super) fn allocate(&mut self, n: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.checked_sub(n as u64).ok_or(Fault::Exhausted("compute"))?;
        Ok(())
    }

    /// Takes one out of `n` from the whole budget: for what is slow on purpose.
    pub(super) fn one_of(&mut self, n: u64) -> Result<(), Fault> {
        self.step(STEPS / n)
    }
}

struct Execution<'a, 'b> {
    set: &'a Set,
    name: &'a str,
    line: usize,
    budget: Budget,
    depth: usize,
    /// Innermost last, as they were declared.
    variables: Vec<(SmolStr, Value)>,
    out: Zeroizing<Vec<u8>>,
    surroundings: &'a mut Surroundings<'b>,
}

/// See [`Set::execute`].
pub(super) fn execute(
    set: &Set,
    name: &str,
    input: Input<'_>,
    surroundings: &mut Surroundings<'_>,
) -> Result<SecretText, TemplateError> {
    let (name, body) =
        set.templates.get_key_value(name).ok_or_else(|| TemplateError::Unknown { name: name.to_owned() })?;
    let dot = read_input(input).map_err(|field| TemplateError::Execution {
        name: name.clone(),
        line: 1,
        what: format!("the input's {field} is not JSON"),
    })?;
    let mut execution = Execution {
        set,
        name,
        line: 1,
        budget: Budget::new(),
        depth: 0,
        variables: vec![("$".into(), dot.clone())],
        out: Zeroizing::new(Vec::new()),
        surroundings,
    };
    let done = execution.walk(body, &dot);
    let (name, line) = (execution.name.to_owned(), execution.line);
    match done {
        Ok(()) => Ok(SecretText::new(std::mem::take(&mut *execution.out))),
        Err(Fault::Exhausted(what)) => Err(TemplateError::Exhausted { name, what }),
        Err(Fault::Message(what)) => Err(TemplateError::Execution { name, line, what }),
        Err(Fault::Break | Fault::Continue) => unreachable!("break and continue were found inside range"),
    }
}

fn read_input(input: Input<'_>) -> Result<Value, &str> {
    match input {
        Input::Texts(texts) => {
            let items = texts.iter().map(|(key, text)| (Text::from(key.as_str()), Value::bytes(text.expose())));
            Ok(Value::map_of(Element::Text, items.collect()))
        }
        Input::Fields(fields) => {
            let mut items = BTreeMap::new();
            for (name, field) in fields {
                let value = match field {
                    Field::Json(text) => json::read(text.as_bytes(), json::Numbers::AsSpelt).map_err(|_| *name)?,
                    Field::Texts(texts) => {
                        let items = texts.iter().map(|(k, v)| (Text::from(k.as_str()), Value::text(v.as_str())));
                        Value::map(items.collect())
                    }
                    Field::Empty => Value::map(BTreeMap::new()),
                };
                items.insert(Text::from(*name), value);
            }
            Ok(Value::map_of(Element::Field, items))
        }
    }
}

impl<'a> Execution<'a, '_> {
    fn walk(&mut self, list: &'a ListNode, dot: &Value) -> Result<(), Fault> {
        for node in &list.nodes {
            self.budget.step(1)?;
            match node {
                Node::Text(text) => self.write(text.text.as_bytes())?,
                Node::Action(action) => {
                    self.line = action.pos.line;
                    let mut value = self.pipeline(dot, &action.pipe)?;
                    if action.pipe.decl.is_empty() {
                        if value.is_nil() {
                            value = Value::text("<no value>");
                        }
                        let text = print::print(&value)?;
                        self.write(&text)?;
                    }
                }
                Node::If(branch) => self.branch(branch, dot, false)?,
                Node::With(branch) => self.branch(branch, dot, true)?,
                Node::Range(branch) => self.range(branch, dot)?,
                Node::Template(call) => {
                    self.line = call.pos.line;
                    let inner = match &call.pipe {
                        Some(pipe) => self.pipeline(dot, pipe)?,
                        None => Value::Missing,
                    };
                    let Some((name, body)) = self.set.templates.get_key_value(call.name.as_str()) else {
                        return Err(Fault::new(format!("template {:?} not defined", call.name.as_str())));
                    };
                    let outer = (self.name, self.line, std::mem::take(&mut self.variables));
                    self.variables.push(("$".into(), inner.clone()));
                    self.name = name;
                    self.deeper(|it| it.walk(body, &inner))?;
                    (self.name, self.line, self.variables) = outer;
                }
                Node::List(list) => self.walk(list, dot)?,
                Node::Define(_) => {}
                Node::Break(_) => return Err(Fault::Break),
                Node::Continue(_) => return Err(Fault::Continue),
            }
        }
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        if bytes.len() > LONGEST_OUTPUT - self.out.len() {
            return Err(Fault::Exhausted("write"));
        }
        if self.out.capacity() - self.out.len() < bytes.len() {
            // Grown by hand, so that what is left behind is wiped.
            let mut longer = Zeroizing::new(Vec::with_capacity((self.out.len() + bytes.len()) * 2));
            longer.extend_from_slice(&self.out);
            self.out = longer;
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn deeper<T>(&mut self, act: impl FnOnce(&mut Self) -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth == DEEPEST {
            return Err(Fault::Exhausted("nest"));
        }
        self.depth += 1;
        let done = act(self);
        self.depth -= 1;
        done
    }

    fn branch(&mut self, branch: &'a BranchNode, dot: &Value, moves_dot: bool) -> Result<(), Fault> {
        self.line = branch.pos.line;
        let mark = self.variables.len();
        let value = self.pipeline(dot, &branch.pipe)?;
        let done = match (value.is_true(), &branch.else_body) {
            (true, _) => self.deeper(|it| it.walk(&branch.body, if moves_dot { &value } else { dot })),
            (false, Some(body)) => self.deeper(|it| it.walk(body, dot)),
            (false, None) => Ok(()),
        };
        self.variables.truncate(mark);
        done
    }

    fn range(&mut self, branch: &'a BranchNode, dot: &Value) -> Result<(), Fault> {
        self.line = branch.pos.line;
        let mark = self.variables.len();
        let over = self.commands(dot, &branch.pipe)?;
        let mut steps: Box<dyn Iterator<Item = (Value, Value)>> = match &over {
            Value::Missing | Value::Nil => Box::new(std::iter::empty()),
            Value::List(list) => {
                let list = Rc::clone(list);
                Box::new((0..list.items.len()).map(move |n| (Value::int(n as i64), list.items[n].clone())))
            }
            Value::Map(map) if map.element != Element::Field => {
                let items: Vec<_> =
                    map.items.borrow().iter().map(|(k, v)| (Value::Text(k.clone()), v.clone())).collect();
                Box::new(items.into_iter())
            }
            Value::Int(width, n) => {
                if branch.pipe.decl.len() > 1 {
                    return Err(Fault::new("cannot range over a number with two variables"));
                }
                let width = *width;
                Box::new((0..*n).map(move |n| (Value::Int(width, n), Value::Int(width, n))))
            }
            _ => return Err(Fault::new(format!("range cannot iterate over {}", over.type_name()))),
        };
        let Some(first) = steps.next() else {
            let done = match &branch.else_body {
                Some(body) => self.deeper(|it| it.walk(body, dot)),
                None => Ok(()),
            };
            self.variables.truncate(mark);
            return done;
        };
        for (key, value) in std::iter::once(first).chain(steps) {
            self.budget.step(1)?;
            let (decl, is_assign) = (&branch.pipe.decl, branch.pipe.is_assign);
            let bound = match decl.as_slice() {
                [] => vec![],
                [one] => vec![(one, &value)],
                [first, second, ..] => vec![(first, &key), (second, &value)],
            };
            for (name, value) in bound {
                self.bind(name, value.clone(), is_assign)?;
            }
            match self.deeper(|it| it.walk(&branch.body, &value)) {
                Err(Fault::Break) => break,
                Ok(()) | Err(Fault::Continue) => {}
                Err(fault) => return Err(fault),
            }
            self.variables.truncate(mark);
        }
        self.variables.truncate(mark);
        Ok(())
    }

    fn bind(&mut self, name: &SmolStr, value: Value, is_assign: bool) -> Result<(), Fault> {
        if is_assign {
            let slot = self.variables.iter_mut().rev().find(|it| it.0 == *name);
            slot.ok_or_else(|| Fault::new(format!("undefined variable: {name}")))?.1 = value;
        } else {
            self.variables.push((name.clone(), value));
        }
        Ok(())
    }

    fn pipeline(&mut self, dot: &Value, pipe: &'a PipeNode) -> Result<Value, Fault> {
        let value = self.commands(dot, pipe)?;
        for name in &pipe.decl {
            self.bind(name, value.clone(), pipe.is_assign)?;
        }
        Ok(value)
    }

    fn commands(&mut self, dot: &Value, pipe: &'a PipeNode) -> Result<Value, Fault> {
        let mut last = None;
        for command in &pipe.commands {
            let value = self.command(dot, command, last)?;
            // Go digs into interfaces here, and what it finds in a nil one is nothing.
            last = Some(if value.is_nil() { Value::Missing } else { value });
        }
        Ok(last.unwrap_or(Value::Missing))
    }

    fn command(&mut self, dot: &Value, command: &'a CommandNode, last: Option<Value>) -> Result<Value, Fault> {
        self.budget.step(1)?;
        let [first, rest @ ..] = command.args.as_slice() else {
            return Err(Fault::new("empty command"));
        };
        match first {
            Expr::Identifier(_, name) => self.call(dot, name, rest, last),
            Expr::Chain(_, inner, fields) => {
                let value = match inner.as_ref() {
                    // `now.Unix`: Go calls what stands before the dot without arguments.
                    Expr::Identifier(_, name) => self.call(dot, name, &[], None)?,
                    other => self.expression(dot, other)?,
                };
                self.chain(dot, value, fields, rest, last)
            }
            Expr::Field(_, fields) => self.chain(dot, dot.clone(), fields, rest, last),
            Expr::Variable(_, name, fields) => {
                let value = self.variable(name)?;
                if fields.is_empty() && (!rest.is_empty() || last.is_some()) {
                    return Err(Fault::new(format!("can't give argument to non-function {name}")));
                }
                self.chain(dot, value, fields, rest, last)
            }
            Expr::Nil(_) => Err(Fault::new("nil is not a command")),
            other if rest.is_empty() && last.is_none() => self.expression(dot, other),
            _ => Err(Fault::new("can't give argument to non-function")),
        }
    }

    fn variable(&self, name: &str) -> Result<Value, Fault> {
        let found = self.variables.iter().rev().find(|it| it.0 == name);
        Ok(found.ok_or_else(|| Fault::new(format!("undefined variable: {name}")))?.1.clone())
    }

    fn chain(
        &mut self,
        dot: &Value,
        mut value: Value,
        fields: &'a [SmolStr],
        rest: &'a [Expr],
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let Some((final_field, before)) = fields.split_last() else {
            return Ok(value);
        };
        for field in before {
            value = self.field(&value, field, &[])?;
        }
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for expr in rest {
            arguments.push(self.expression(dot, expr)?);
        }
        arguments.extend(last);
        self.field(&value, final_field, &arguments)
    }

    fn field(&mut self, value: &Value, name: &str, arguments: &[Value]) -> Result<Value, Fault> {
        if let Some(answer) = functions::call_method(value, name, arguments, &mut self.budget) {
            return answer;
        }
        let missing = self.set.dialect.missing;
        match value {
            Value::Missing if missing == Missing::Error => {
                Err(Fault::new(format!("nil data; no entry for key {name:?}")))
            }
            Value::Missing => Ok(Value::Missing),
            Value::Nil => Err(Fault::new(format!("nil pointer evaluating interface {{}}.{name}"))),
            Value::Map(map) => {
                let found = map.items.borrow().get(&Text::from(name)).cloned();
                match found {
                    _ if !arguments.is_empty() => Err(Fault::new(format!("{name} is not a method but has arguments"))),
                    Some(value) => Ok(value),
                    None if map.element == Element::Field => {
                        Err(Fault::new(format!("can't evaluate field {name} in what the template is given")))
                    }
                    None if missing == Missing::Error => Err(Fault::new(format!("map has no entry for key {name:?}"))),
                    None => Ok(Value::Missing),
                }
            }
            other => Err(Fault::new(format!("can't evaluate field {name} in type {}", other.type_name()))),
        }
    }

    fn call(&mut self, dot: &Value, name: &str, rest: &'a [Expr], last: Option<Value>) -> Result<Value, Fault> {
        if name == "and" || name == "or" {
            return self.short_circuit(dot, name, rest, last);
        }
        let function = functions::find(name).ok_or_else(|| Fault::new(format!("function {name:?} not defined")))?;
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        let mut literals = 0_u64;
        for (n, expr) in rest.iter().enumerate() {
            if n < 64 && matches!(expr, Expr::Number(..)) {
                literals |= 1 << n;
            }
            arguments.push(self.expression(dot, expr)?);
        }
        arguments.extend(last);
        if arguments.len() < function.arity.0 || arguments.len() > function.arity.1 {
            return Err(Fault::new(format!("wrong number of args for {name}: got {}", arguments.len())));
        }
        self.budget.step(1 + arguments.len() as u64)?;
        let call = &mut Call { arguments, literals, budget: &mut self.budget, surroundings: self.surroundings };
        let value = (function.call)(call).map_err(|fault| match fault {
            Fault::Message(what) => Fault::Message(format!("error calling {name}: {what}")),
            other => other,
        })?;
        self.budget.allocate(match &value {
            Value::Text(text) => text.len(),
            Value::List(list) => list.items.len() * 24,
            _ => 24,
        })?;
        Ok(value)
    }

    fn short_circuit(
        &mut self,
        dot: &Value,
        name: &str,
        rest: &'a [Expr],
        last: Option<Value>,
    ) -> Result<Value, Fault> {
        let mut value = None;
        for expr in rest {
            let next = self.expression(dot, expr)?;
            if next.is_true() == (name == "or") {
                return Ok(next);
            }
            value = Some(next);
        }
        last.or(value).ok_or_else(|| Fault::new(format!("wrong number of args for {name}: got 0")))
    }

    fn expression(&mut self, dot: &Value, expr: &'a Expr) -> Result<Value, Fault> {
        Ok(match expr {
            Expr::Dot(_) => dot.clone(),
            Expr::Field(_, fields) => self.chain(dot, dot.clone(), fields, &[], None)?,
            Expr::Variable(_, name, fields) => {
                let value = self.variable(name)?;
                self.chain(dot, value, fields, &[], None)?
            }
            Expr::Identifier(_, name) => self.call(dot, name, &[], None)?,
            Expr::String(_, text) => Value::text(&**text),
            Expr::Number(_, Number::Int(n)) => Value::Int(Width::Int, *n),
            Expr::Number(_, Number::Uint(_)) => return Err(Fault::new("a number overflows int")),
            Expr::Number(_, Number::Float(f)) => Value::Float(*f),
            Expr::Bool(_, b) => Value::Bool(*b),
            Expr::Nil(_) => Value::Nil,
            Expr::Pipe(_, pipe) => self.deeper(|it| it.pipeline(dot, pipe))?,
            Expr::Chain(_, inner, fields) => {
                let value = match inner.as_ref() {
                    Expr::Identifier(_, name) => self.call(dot, name, &[], None)?,
                    other => self.expression(dot, other)?,
                };
                self.chain(dot, value, fields, &[], None)?
            }
        })
    }
}
