//! nginx's stream module as installed on this machine, one worker: a proxy for TCP, nothing else.
//!
//! This program finds a port, says so when nginx listens there, and becomes nginx: what is measured is nginx alone.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{self, Command, ExitCode};

use rival_options::{Common, Outcome, Plain, installed};

/// Where the distributions put the module, if it is not built in.
const MODULES: [&str; 2] =
    ["/usr/lib/nginx/modules/ngx_stream_module.so", "/usr/lib64/nginx/modules/ngx_stream_module.so"];

fn main() -> ExitCode {
    if let Some(code) = installed::announced() {
        return code;
    }
    rival_options::run(|Plain { common }| serve(&common))
}

fn serve(common: &Common) -> Outcome {
    let to = installed::only_proxies(common, "nginx")?;
    if common.threads != 1 {
        return Err("nginx: its workers are processes, and one process is measured: --threads 1".into());
    }
    installed::is_there("nginx")?;
    // It crashes on an inherited listener in a single process, so it opens one itself, where a port is free.
    let address = rival_options::listener(common.listen, true)?.local_addr()?;
    let (file, path) = installed::file_for(&configuration(address, to, common))?;
    installed::announce(address)?;
    let mut command = Command::new("nginx");
    // What it says before it has read its configuration is of no interest.
    command.args(["-e", "/dev/null", "-c", &path]);
    installed::become_it(command, [file])
}

fn configuration(listen: SocketAddr, to: SocketAddr, common: &Common) -> String {
    let module = MODULES.iter().find(|path| Path::new(path).exists());
    let module = module.map(|path| format!("load_module {path};\n")).unwrap_or_default();
    // nginx removes this file when it ends.
    let pid_file = std::env::temp_dir().join(format!("rival-nginx-{}.pid", process::id()));
    format!(
        "{module}daemon off;
master_process off;
pid {};
error_log stderr crit;
events {{ worker_connections 20000; multi_accept on; }}
stream {{
    access_log off;
    server {{
        listen {listen};
        proxy_pass {to};
        proxy_buffer_size {};
        proxy_half_close on;
        proxy_timeout 1h;
        tcp_nodelay on;
    }}
}}
",
        pid_file.display(),
        common.buffer_or_default()
    )
}
