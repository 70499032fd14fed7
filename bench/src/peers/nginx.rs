//! nginx as a peer: one worker, a pool of kept origin connections wide enough for every client, no access log.
//!
//! Only `Proxy::start` calls it. Its buffers are its own defaults; `nginx-wide` has buffers that give it its best figure
//! for long bodies, as an operator who tunes would set them.

use std::fs;
use std::io;

use super::Setup;
use super::certificate::{certificate_in, key_in};
use crate::machine::first_line;

/// Which buffers it has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Buffers {
    Usual,
    Wide,
}

const WIDE: &str = "            proxy_buffer_size 16k;
            proxy_buffers 8 32k;
            proxy_busy_buffers_size 64k;
            proxy_max_temp_file_size 0;
";

/// Writes the configuration and gives the command line.
pub(crate) fn command(setup: Setup<'_>, buffers: Buffers) -> io::Result<Vec<String>> {
    let folder = setup.folder.display();
    let path = setup.folder.join("nginx.conf");
    fs::write(&path, configuration(setup, buffers))?;
    let path = path.display().to_string();
    Ok(vec!["nginx".to_owned(), "-p".to_owned(), format!("{folder}/"), "-c".to_owned(), path])
}

/// Name and version.
pub(crate) fn version() -> String {
    first_line("nginx", &["-v"]).replace("nginx version: ", "")
}

fn configuration(setup: Setup<'_>, buffers: Buffers) -> String {
    let Setup { origin, listen, folder, .. } = setup;
    let secure = setup.secure.map_or_else(String::new, |(address, _)| {
        let (certificate, key) = (certificate_in(folder), key_in(folder));
        format!(
            "        listen {address} ssl backlog=4096;
        ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.2 TLSv1.3;
",
            certificate.display(),
            key.display()
        )
    });
    let folder = folder.display();
    format!(
        r#"daemon off;
worker_processes 1;
worker_rlimit_nofile 20000;
pid {folder}/nginx.pid;
error_log {folder}/nginx-error.log error;
events {{ worker_connections 19000; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 600s;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/nginx-body;
    proxy_temp_path {folder}/nginx-proxy;
    fastcgi_temp_path {folder}/nginx-fastcgi;
    uwsgi_temp_path {folder}/nginx-uwsgi;
    scgi_temp_path {folder}/nginx-scgi;
    upstream origin {{
        server {origin};
        keepalive 4096;
        keepalive_timeout 600s;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {listen} backlog=4096;
{secure}        proxy_http_version 1.1;
        location / {{
            proxy_pass http://origin;
{wide}            proxy_set_header Connection "";
{forwarded}        }}
        location /ws {{
            proxy_pass http://origin;
            proxy_read_timeout 600s;
            proxy_send_timeout 600s;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection "upgrade";
{forwarded}        }}
    }}
}}
"#,
        forwarded = FORWARDED,
        wide = if buffers == Buffers::Wide { WIDE } else { "" },
    )
}

/// The forwarded fields; `proxy_set_header` is not inherited by a location that sets one of its own.
const FORWARDED: &str = "            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Real-IP $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header Via \"1.1 nginx\";
            proxy_set_header X-Request-Id $request_id;
";
