//! What Go refuses when it parses: calls of unknown functions, use of undeclared variables.

use gotmpl::parse::{BranchNode, Expr, ListNode, Node, PipeNode, SmolStr};

use super::{Dialect, TemplateError, functions};

struct Check<'a> {
    name: &'a str,
    dialect: &'static Dialect,
    variables: Vec<SmolStr>,
    varies: bool,
}

/// Checks one body of the template `name`. True if it calls what answers differently each time.
///
/// # Errors
///
/// At the first thing that Go would refuse.
pub(super) fn check(name: &str, body: &ListNode, dialect: &'static Dialect) -> Result<bool, TemplateError> {
    let mut check = Check { name, dialect, variables: vec!["$".into()], varies: false };
    check.list(body)?;
    Ok(check.varies)
}

impl Check<'_> {
    fn list(&mut self, list: &ListNode) -> Result<(), TemplateError> {
        for node in &list.nodes {
            match node {
                Node::Action(action) => self.pipe(&action.pipe)?,
                Node::If(branch) | Node::With(branch) | Node::Range(branch) => self.branch(branch)?,
                Node::Template(call) => call.pipe.iter().try_for_each(|it| self.pipe(it))?,
                Node::List(list) => self.list(list)?,
                Node::Define(definition) => self.list(&definition.body)?,
                Node::Text(_) | Node::Break(_) | Node::Continue(_) => {}
            }
        }
        Ok(())
    }

    fn branch(&mut self, branch: &BranchNode) -> Result<(), TemplateError> {
        let mark = self.variables.len();
        self.pipe(&branch.pipe)?;
        let inner = self.variables.len();
        self.list(&branch.body)?;
        self.variables.truncate(inner);
        branch.else_body.iter().try_for_each(|it| self.list(it))?;
        self.variables.truncate(mark);
        Ok(())
    }

    fn pipe(&mut self, pipe: &PipeNode) -> Result<(), TemplateError> {
        if pipe.is_assign {
            pipe.decl.iter().try_for_each(|name| self.variable(name, pipe.pos.line))?;
        }
        for (n, command) in pipe.commands.iter().enumerate() {
            if n > 0
                && matches!(
                    command.args.first(),
                    Some(Expr::Bool(..) | Expr::Dot(_) | Expr::Nil(_) | Expr::Number(..) | Expr::String(..))
                )
            {
                return Err(self.syntax(pipe.pos.line, "a stage of the pipeline after the first is no function".into()));
            }
            command.args.iter().try_for_each(|it| self.expression(it))?;
        }
        if !pipe.is_assign {
            self.variables.extend(pipe.decl.iter().cloned());
        }
        Ok(())
    }

    fn expression(&mut self, expr: &Expr) -> Result<(), TemplateError> {
        match expr {
            Expr::Identifier(pos, name) => self.function(name, pos.line),
            Expr::Variable(pos, name, _) => self.variable(name, pos.line),
            Expr::Pipe(_, pipe) => self.pipe(pipe),
            Expr::Chain(_, inner, _) => self.expression(inner),
            _ => Ok(()),
        }
    }

    fn function(&mut self, name: &str, line: usize) -> Result<(), TemplateError> {
        let may = functions::is_of_go(name) || self.dialect.functions.contains(&name);
        if may && functions::is_built(name) {
            self.varies |= functions::random::VARYING.contains(&name);
            return Ok(());
        }
        Err(TemplateError::UnknownFunction { name: self.name.into(), line, function: name.into() })
    }

    fn variable(&self, name: &str, line: usize) -> Result<(), TemplateError> {
        match self.variables.iter().any(|it| it == name) {
            true => Ok(()),
            false => Err(self.syntax(line, format!("undefined variable {name:?}"))),
        }
    }

    fn syntax(&self, line: usize, what: String) -> TemplateError {
        TemplateError::Syntax { name: self.name.into(), line, what }
    }
}
