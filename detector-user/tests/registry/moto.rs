//! An S3 server: moto's.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

/// What `cargo xtask setup` installs.
const PROGRAM: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../target/moto-venv/bin/moto_server"
);
const BUCKET: &str = "models";

/// Ends with its value.
pub struct Server {
    child: Child,
    address: String,
}

impl Server {
    /// With an empty bucket; `None` where it is not installed.
    pub fn start() -> Option<Self> {
        if !Path::new(PROGRAM).exists() {
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap();
        let child = Command::new(PROGRAM)
            .args(["-H", "127.0.0.1", "-p", &free.port().to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self {
            child,
            address: free.to_string(),
        };
        for _ in 0..600 {
            if server.makes_the_bucket() {
                return Some(server);
            }
            thread::sleep(Duration::from_millis(100));
        }
        panic!("moto does not answer at {}", server.address);
    }

    fn makes_the_bucket(&self) -> bool {
        let Ok(mut stream) = TcpStream::connect(&self.address) else {
            return false;
        };
        let request = format!(
            "PUT /{BUCKET} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        );
        let mut answer = String::new();
        stream.write_all(request.as_bytes()).is_ok()
            && stream.read_to_string(&mut answer).is_ok()
            && answer.starts_with("HTTP/1.1 200")
    }

    /// A command whose registry is there.
    pub fn client(&self, mut command: Command) -> Command {
        command
            .env(
                "DETECTOR_MODELS_REGISTRY",
                format!("s3://{BUCKET}/of/a/test"),
            )
            .env("AWS_ENDPOINT_URL", format!("http://{}", self.address))
            .env("AWS_ALLOW_HTTP", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "test")
            .env("AWS_SECRET_ACCESS_KEY", "test");
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
