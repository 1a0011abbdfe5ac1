use std::{
    env,
    error::Error,
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::{
    plan::{Client, Order, Plan, Reply, Round, Shape},
    server::spawn_on,
};

/// The load generator in its process, its connections open.
#[derive(Debug)]
pub(crate) struct Generator {
    process: Child,
    orders: ChildStdin,
    replies: BufReader<ChildStdout>,
}

impl Generator {
    /// Starts it and waits until it is ready.
    pub(crate) fn start(plan: &Plan) -> Result<Self, Box<dyn Error>> {
        let mut command = if let Shape::Amqp { client: Client::Jms(java), .. } = &plan.shape {
            let mut command = Command::new("java");
            // It has a core with its compiler, which is done soon.
            command.args(["-Xmx1g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
            command.args(["-cp", &java.class_path]);
            command.arg(&java.source);
            command
        } else {
            let mut command = Command::new(env::current_exe()?);
            command.arg("load");
            command
        };
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = spawn_on(&mut command, &[plan.core])?;
        let orders = process.stdin.take().ok_or("no standard input")?;
        let replies = BufReader::new(process.stdout.take().ok_or("no standard output")?);
        let mut generator = Self { process, orders, replies };
        match generator.request(plan)? {
            Reply::Ready => Ok(generator),
            Reply::Failed(why) => Err(why.into()),
            Reply::Round(_) => Err("a round that was not requested".into()),
        }
    }

    pub(crate) fn obey(&mut self, order: &Order) -> Result<Round, Box<dyn Error>> {
        match self.request(order)? {
            Reply::Round(round) => Ok(round),
            Reply::Failed(why) => Err(why.into()),
            Reply::Ready => Err("ready, which was not requested".into()),
        }
    }

    fn request(&mut self, what: &impl serde::Serialize) -> Result<Reply, Box<dyn Error>> {
        serde_json::to_writer(&mut self.orders, what)?;
        writeln!(self.orders)?;
        self.orders.flush()?;
        let mut line = String::new();
        self.replies.read_line(&mut line)?;
        if line.is_empty() {
            return Err("the load generator has gone".into());
        }
        Ok(serde_json::from_str(&line)?)
    }
}

impl Drop for Generator {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}
