//! age plugins: the programs called `age-plugin-…`, started here and nowhere else.

use std::io::Write;
use std::slice;

use age::plugin::{Identity, IdentityPluginV1, Recipient, RecipientPluginV1};
use age::secrecy::SecretString;
use leafseal::keyservice::age::{PluginHost, Prompt};

use crate::prompt::{self, Terminal};

/// Starts the plugins that lie in `PATH`.
pub(crate) struct Plugins;

/// What a plugin may say and ask: on standard error and the terminal.
#[derive(Clone)]
struct Conversation;

impl PluginHost for Plugins {
    fn recipient(&self, recipient: &Recipient) -> Result<Box<dyn age::Recipient>, String> {
        match RecipientPluginV1::new(recipient.plugin(), slice::from_ref(recipient), &[], Conversation) {
            Ok(it) => Ok(Box::new(it)),
            Err(_) => Err(not_found(recipient.plugin())),
        }
    }

    fn identity(&self, identity: &Identity) -> Result<Box<dyn age::Identity>, String> {
        match IdentityPluginV1::new(identity.plugin(), slice::from_ref(identity), Conversation) {
            Ok(it) => Ok(Box::new(it)),
            Err(_) => Err(not_found(identity.plugin())),
        }
    }
}

impl age::Callbacks for Conversation {
    fn display_message(&self, message: &str) {
        // There is nobody to tell that nobody can be told.
        let _ = writeln!(anstream::stderr(), "{message}");
    }

    fn confirm(&self, message: &str, yes: &str, no: Option<&str>) -> Option<bool> {
        let Some(no) = no else {
            return prompt::line(&format!("{message} (press enter for {yes:?})")).map(|_| true);
        };
        match prompt::line(&format!("{message} (1 for {yes:?}, 2 for {no:?})"))?.trim() {
            "1" => Some(true),
            "2" => Some(false),
            _ => None,
        }
    }

    fn request_public_string(&self, description: &str) -> Option<String> {
        prompt::line(description)
    }

    fn request_passphrase(&self, description: &str) -> Option<SecretString> {
        let answer = Terminal.passphrase(description)?;
        answer.expose_str().map(SecretString::from)
    }
}

fn not_found(plugin: &str) -> String {
    format!("{plugin} plugin: couldn't start plugin: age-plugin-{plugin} is not in PATH")
}
