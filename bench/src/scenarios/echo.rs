//! The least that HTTP can do: a fixed small answer. Against `zerobench serve-echo` it is the limit of everything else;
//! against any other server it needs a path that answers 200.

use bytes::Bytes;

use crate::scenario::{Expect, Length, Plan, Prepared, Scenario, Target};

/// `GET path`.
pub struct Echo {
    /// What is asked for.
    pub path: String,
}

impl Scenario for Echo {
    fn title(&self) -> String {
        format!("HTTP echo, GET {}", self.path)
    }

    fn fill(&self, _: &Target) -> Result<(), String> {
        Ok(())
    }

    fn plan(&self, target: &Target, _: usize, _: usize) -> Result<Box<dyn Plan>, String> {
        let head = format!("GET {} HTTP/1.1\r\nHost: {}\r\n\r\n", self.path, target.host);
        let expect = Expect { status: 200, length: Length::Any };
        Ok(Box::new(Same(Prepared { head: head.into(), body: Bytes::new(), expect, tag: None })))
    }
}

/// The same request again and again.
struct Same(Prepared);

impl Plan for Same {
    fn next(&mut self) -> Option<Prepared> {
        Some(self.0.clone())
    }
}
