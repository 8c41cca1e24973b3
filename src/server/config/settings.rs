//! What every setting means, with its default or an example.

/// What is known of one setting.
pub(super) struct Setting {
    /// Its name in the file.
    pub key: &'static str,
    /// As it would stand in the file: the default, or an example.
    pub example: &'static str,
    /// What it means, a line each.
    pub meaning: &'static [&'static str],
}

/// All settings, in the order of the file.
pub(super) const SETTINGS: &[Setting] = &[
    Setting {
        key: "base_url",
        example: "\"https://tally.coop.example\"",
        meaning: &[
            "The node's address as others see it: https://HOST or https://HOST:PORT, without a path",
            "(plain http only for loopback hosts). It stands in every QR code, in the uris of the",
            "status lists, in did:web, and it names the log. It was fixed by `tallystick init`:",
            "a node refuses to start when it is changed.",
        ],
    },
    Setting {
        key: "name",
        example: "\"My Co-op\"",
        meaning: &["The co-op's name for people, 1 to 100 characters."],
    },
    Setting {
        key: "listen",
        example: "\"127.0.0.1:8080\"",
        meaning: &[
            "Address and port to listen on. Loopback unless you say otherwise: put a reverse proxy",
            "with TLS in front before you listen on others. Port 0 takes a free one.",
            "Flag --listen, environment TALLYSTICK_LISTEN.",
        ],
    },
    Setting {
        key: "algorithm",
        example: "\"eddsa\"",
        meaning: &[
            "The COSE algorithm that new credentials name: \"eddsa\" (-8, which most verifiers know)",
            "or \"ed25519\" (-19). Both are accepted everywhere.",
        ],
    },
    Setting {
        key: "qr_form",
        example: "\"link\"",
        meaning: &[
            "The form of QR texts in answers: \"link\" (a phone's camera opens the page that checks it)",
            "or \"bare\" (digits alone, for tills and scanners). Both are accepted everywhere.",
        ],
    },
    Setting {
        key: "cors_origins",
        example: "[\"https://till.coop.example\"]",
        meaning: &[
            "Web origins whose pages may call this node from a browser. None by default.",
            "Environment TALLYSTICK_CORS_ORIGINS, separated by commas.",
        ],
    },
    Setting {
        key: "metrics_public",
        example: "false",
        meaning: &[
            "Whether /metrics answers others than loopback without a key.",
            "Environment TALLYSTICK_METRICS_PUBLIC.",
        ],
    },
    Setting {
        key: "entries_public",
        example: "false",
        meaning: &[
            "Whether everyone may read the log's entries, which show a shop's trade, or only who has",
            "an office or auditor key. Receipts' stubs need such a key in any case: who has a stub may read",
            "what is on its receipt.",
            "Environment TALLYSTICK_ENTRIES_PUBLIC.",
        ],
    },
    Setting {
        key: "mirrors",
        example: concat!(
            "{ other-coop = { dir = \"/srv/mirrors/other-coop\", url = \"https://other.example\", ",
            "log_key = \"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\", ",
            "key_file = \"keys/other-coop.key\", seconds = 60 } }",
        ),
        meaning: &[
            "Copies of other nodes' logs that this node serves under /mirror/NAME/, each with its",
            "directory; a relative path is relative to this node's directory. With a url the node keeps the",
            "copy up to date by itself: log_key is the log's key (vkey) as the other co-op publishes it,",
            "key_file a file with the auditor's key that it gave out, and seconds the time between two",
            "rounds, 1 to 86400, 60 by default; at most 16 are kept so. Without a url somebody else keeps",
            "it, with `tallystick mirror URL DIR`. Names are of a-z, 0-9, - and . Who may read this node's",
            "entries may read theirs. None by default.",
        ],
    },
    Setting {
        key: "mirrored_at",
        example: "[\"https://other.example/mirror/tally.coop.example/\"]",
        meaning: &[
            "Mirrors of this node's own log, by what their /checkpoint follows; at most 16. Each is asked",
            "before this node serves: if one holds more of the log than the store does, as after a backup",
            "was put back, or another history, the node does not start. One that does not answer says",
            "nothing. The members that a roster names as this node's mirrors are asked in any case, under",
            "/mirror/HOST/ (of a HOST:PORT, /mirror/HOST-PORT/). None by default.",
        ],
    },
    Setting {
        key: "status_list_seconds",
        example: "86400",
        meaning: &[
            "How long a signed status list is good, in seconds, 60 to 31536000. A verifier that is",
            "offline for longer can no longer tell whether a coupon was revoked.",
        ],
    },
    Setting {
        key: "witness_logs",
        example: "[\"example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k\"]",
        meaning: &[
            "The logs that this node witnesses: it cosigns their checkpoints, each only if it continues",
            "the one before. Named by their keys (vkey, as `tallystick init` prints it), at most 64.",
            "None by default. Tell their operators this node's base URL and witness_vkey.",
        ],
    },
    Setting {
        key: "witness_policy",
        example: "\"witness-policy.txt\"",
        meaning: &[
            "Who witnesses this node's log: a policy file (C2SP tlog-policy). The checkpoints are sent to",
            "the witnesses in it that have a URL, and its quorum says which cosignatures are enough for",
            "proofs. Relative to the directory. Nobody by default.",
        ],
    },
    Setting {
        key: "witness_seconds",
        example: "10",
        meaning: &[
            "How often the newest checkpoint is sent to the witnesses, in seconds, 1 to 86400; nothing is",
            "sent while the log does not grow.",
        ],
    },
    Setting {
        key: "federation",
        example: "\"eGsZYenc28tgjpvyvJCVGXgu9sgmzc26wqcgbqTM0tk\"",
        meaning: &[
            "The federation that this node belongs to, for good: the hash of version 1 of its roster.",
            "`tallystick federation pin` writes it. None by default.",
        ],
    },
    Setting {
        key: "federation_decided",
        example: "[\"YmKti_o1XyJpnz1ntf8grn64nxaoiRJrEyCRNfvsmYs\"]",
        meaning: &[
            "Where two versions of the roster with one number were signed: the hash of the one that",
            "counts, as the members have agreed (docs/federation.md). None by default.",
        ],
    },
    Setting {
        key: "federation_reach",
        example: "{ \"https://north.example\" = \"http://north:8080\" }",
        meaning: &[
            "Where other members' nodes are reached, if not at the base URLs that the roster has: for each",
            "base URL an address http://HOST:PORT or https://HOST:PORT. Only so is another machine called",
            "over plain http. None by default.",
        ],
    },
    Setting {
        key: "federation_ca",
        example: "\"federation-ca.pem\"",
        meaning: &[
            "A file of certificate authorities (PEM) that other members' nodes are trusted by, in the place",
            "of the system's. Relative to the directory. The system's by default.",
        ],
    },
    Setting {
        key: "gossip_seconds",
        example: "5",
        meaning: &[
            "How often this node compares what it holds with another member's, in seconds, 1 to 3600.",
            "Revocations are told at once besides.",
        ],
    },
    Setting {
        key: "federation_forgiven",
        example: "[\"did:web:north.example\"]",
        meaning: &[
            "Members whose log is convicted of a fork, and whose new redemptions this node takes all the",
            "same, as its operator has decided after looking at the evidence (docs/gossip.md). With its own",
            "did it goes on though gossip says that its log is not what it has signed. None by default.",
        ],
    },
    Setting {
        key: "guard",
        example: "\"/srv/guard/shop.guard\"",
        meaning: &[
            "The guard file: what this node signed last. It has to lie outside of backups, best on a",
            "volume of its own. By default it stands beside the directory, as DIR.guard; a relative",
            "path is relative to the directory. Flag --guard, environment TALLYSTICK_GUARD.",
        ],
    },
    Setting {
        key: "workers",
        example: "2",
        meaning: &[
            "Threads that answer HTTP, 1 to 256. By default one for each processor.",
            "Flag --workers, environment TALLYSTICK_WORKERS.",
        ],
    },
    Setting {
        key: "connections",
        example: "4096",
        meaning: &[
            "Connections served at a time, 16 to 100000; further ones wait until one ends. Each takes",
            "some 11 KB. The limit of open files (ulimit -n) is raised to fit as far as it may be.",
        ],
    },
    Setting {
        key: "log_format",
        example: "\"text\"",
        meaning: &[
            "How log lines on standard error look: \"text\" or \"json\".",
            "Flag --log-format, environment TALLYSTICK_LOG_FORMAT.",
        ],
    },
    Setting {
        key: "log_level",
        example: "\"info\"",
        meaning: &[
            "Which log lines are written: \"error\", \"warn\", \"info\", \"debug\" or \"trace\".",
            "Flag --log-level, environment TALLYSTICK_LOG_LEVEL.",
        ],
    },
];
