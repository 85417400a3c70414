//! Asks one question at a time, on a terminal or of a script, and asks again where the answer cannot be.

use std::io::{BufRead, Read, Write};

use anyhow::{Context, bail};
use zeroize::Zeroizing;

/// How often one question is asked before giving up: a script that gives a wrong answer would be asked for ever.
const TRIES: u32 = 3;

/// The longest answer, in octets.
const LONGEST: u64 = 4096;

/// Where questions go and answers come from.
pub(super) struct Questions<'a> {
    input: &'a mut dyn BufRead,
    prompts: &'a mut dyn Write,
    /// Whether a secret can be typed without being shown.
    secretly: bool,
}

impl<'a> Questions<'a> {
    pub(super) fn new(input: &'a mut dyn BufRead, prompts: &'a mut dyn Write, secretly: bool) -> Self {
        Self { input, prompts, secretly }
    }

    /// Asks for a text. `default` is what an empty answer means; `check` says what is wrong with one.
    pub(super) fn text<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        check: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        for _ in 0..TRIES {
            match default {
                Some(default) => write!(self.prompts, "{question} [{default}]: ")?,
                None => write!(self.prompts, "{question}: ")?,
            }
            self.prompts.flush()?;
            let line = self.line()?;
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match check(answer) {
                Ok(answer) => return Ok(answer),
                Err(what) => writeln!(self.prompts, "  {what}")?,
            }
        }
        bail!("no answer that can be used; run it again")
    }

    /// Asks for one of several.
    pub(super) fn choice<T: Clone>(&mut self, question: &str, choices: &[(&str, T)]) -> anyhow::Result<T> {
        writeln!(self.prompts, "{question}")?;
        for (number, (name, _)) in choices.iter().enumerate() {
            writeln!(self.prompts, "  {} {name}", number + 1)?;
        }
        self.text("Number", Some("1"), |answer| {
            let number = answer.parse::<usize>().ok().and_then(|number| number.checked_sub(1));
            let chosen = number.and_then(|number| choices.get(number));
            chosen
                .map(|(_, value)| value.clone())
                .ok_or_else(|| format!("a number from 1 to {}, please", choices.len()))
        })
    }

    /// Asks for a secret; an empty answer is none.
    pub(super) fn secret(&mut self, question: &str) -> anyhow::Result<Option<Zeroizing<String>>> {
        let secret = if self.secretly {
            Zeroizing::new(rpassword::prompt_password(format!("{question}: ")).context("the terminal cannot be used")?)
        } else {
            write!(self.prompts, "{question}: ")?;
            self.prompts.flush()?;
            self.line()?
        };
        let secret = Zeroizing::new(secret.trim().to_owned());
        Ok(Some(secret).filter(|secret| !secret.is_empty()))
    }

    fn line(&mut self) -> anyhow::Result<Zeroizing<String>> {
        let mut line = Zeroizing::new(String::new());
        let read = self
            .input
            .take(LONGEST)
            .read_line(&mut line)
            .context("standard input cannot be read")?;
        if read == 0 {
            bail!("standard input ended before the last question was answered");
        }
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<T>(
        answers: &str,
        ask: impl FnOnce(&mut Questions<'_>) -> anyhow::Result<T>,
    ) -> (anyhow::Result<T>, String) {
        let (mut input, mut prompts) = (answers.as_bytes(), Vec::new());
        let result = ask(&mut Questions::new(&mut input, &mut prompts, false));
        (result, String::from_utf8(prompts).unwrap())
    }

    #[test]
    fn a_wrong_answer_is_asked_again_and_an_empty_one_means_the_default() {
        let even = |answer: &str| {
            answer
                .parse::<u32>()
                .ok()
                .filter(|n| n % 2 == 0)
                .ok_or_else(|| "an even number".to_owned())
        };
        let (answer, prompts) = asked("3\n4\n", |questions| questions.text("How many", None, even));
        assert_eq!((answer.unwrap(), prompts.as_str()), (4, "How many:   an even number\nHow many: "));
        let (answer, prompts) = asked("\n", |questions| questions.text("How many", Some("8"), even));
        assert_eq!((answer.unwrap(), prompts.as_str()), (8, "How many [8]: "));
        assert!(
            asked("1\n1\n1\n2\n", |questions| questions.text("How many", None, even))
                .0
                .is_err()
        );
        assert!(asked("", |questions| questions.text("How many", None, even)).0.is_err());
    }

    #[test]
    fn one_of_several_is_chosen_by_its_number() {
        let choices = [("red", 'r'), ("green", 'g')];
        for (answers, chosen) in [("\n", 'r'), ("2\n", 'g'), ("3\n0\n1\n", 'r')] {
            assert_eq!(asked(answers, |questions| questions.choice("Which", &choices)).0.unwrap(), chosen);
        }
    }

    #[test]
    fn an_empty_secret_is_none() {
        let secret = |answers| asked(answers, |questions| questions.secret("Secret")).0.unwrap();
        assert_eq!(secret("\n"), None);
        assert_eq!(secret(" s3cret \n").unwrap().as_str(), "s3cret");
    }
}
