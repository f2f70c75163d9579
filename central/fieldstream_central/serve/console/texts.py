"""All words of the console in one place, for translation."""

LANGUAGE = "en"
TITLE = "Fieldstream"
PAGES = "Pages"
SKIP = "Skip to the content"
NAVIGATION = {
    "/": "Live",
    "/overview": "Plant",
    "/alarms": "Alarms",
    "/gateways": "Gateways",
    "/maintenance": "Maintenance",
    "/handover": "Hand-over",
    "/alarm-health": "Alarm health",
    "/detection": "Detection",
    "/dead-letters": "Dead letters",
}
NO_SUCH_PAGE = "There is no page {path} here."
SEVERITIES = {"critical": "critical", "warning": "warning", "info": "info"}
NOT_KNOWN = "not known"
LIVE = "Live"
STALE = "Data is old"
NO_DATA = "No data yet"
STORE_AWAY = "Store does not answer"
NEWEST = "newest reading {age} ago"
NEVER = "nothing stored yet"
LAST_SEEN = "last answer {age} ago"
LIGHT_DARK = "Switch between light and dark"

WAY = "The way of a reading"
WAY_HINT = "from the device to a person, live"
HOPS = {
    "gateway": ("Gateway", "accepts and keeps"),
    "kafka": ("Kafka", "raw readings"),
    "pipeline": ("Pipeline", "dedupe, enrich, window"),
    "store": ("ClickHouse", "stored once"),
    "detect": ("Detect", "window rows"),
    "alerter": ("Alerter", "incidents"),
    "people": ("People", "notified"),
}
PER_SECOND = "/s"
NO_SIGNAL = "no signal"
STOPPED = "stopped"
UP_TO_DATE = "up to date"
BEHIND = "{lag} behind"
WAITING = "{count} waiting"
OPEN_INCIDENTS = "open now"
SENT = "last hour"
P95 = "p95 {seconds} s from event"
WINDOWS_A_SECOND = "windows/s"
DEAD_LETTERS = "{count} dead letters"

SENSOR = "Sensor"
RANGES = {"15 min": 900, "1 h": 3600, "6 h": 21600, "24 h": 86400}
NO_SENSORS = "No sensor has reported yet. As soon as the first reading is stored it appears here."
NO_POINTS = "No readings in this range"
RESOLUTION_RAW = "every reading"
RESOLUTION = "{width} buckets, lowest and highest kept"
MEAN = "mean"
BAND = "lowest to highest"
LIMITS = {"high_high": "HH", "high": "H", "low": "L", "low_low": "LL"}

ALARMS = "Alarms"
ALARMS_ACTIVE = "{count} active"
ALARMS_NONE = "No alarm in the last day"
ALARMS_NONE_ACTIVE = "none active"
ALARM_SINCE = "since {age}"
ALARM_ENDED = "ended {age} ago, lasted {length}"
OBSERVED = "observed {value}"
EXPECTED = "expected {value}"

COMPLETENESS = "Completeness"
COMPLETENESS_HINT = "accepted by each gateway, against stored"
GATEWAYS_NONE = "No gateway has reported yet"
COMPLETE = "complete"
INCOMPLETE = "incomplete"
HEARTBEAT = "heartbeat {age} ago"
EPOCHS_BEFORE = "{count} earlier epochs complete"
MISSING_RANGES = "missing seq {ranges}"

NOTIFICATIONS = "Notifications"
NOTIFICATIONS_HINT = "what reached people"
NOTIFICATIONS_NONE = "None sent yet"
MAILBOX_AWAY = "The local mailbox does not answer"

LETTERS = "Dead letters"
LETTERS_HINT = "what could not be accepted; choose one to read it"
LETTERS_NONE = "No dead letters here"
LETTERS_FOR_OPERATORS = "Dead letters are shown to operators: sign in with a token of that role"
ANY_REASON = "any reason"
GATEWAY = "Gateway"
HANDLED_TOO = "also replayed and discarded"
HANDLED = "({action} by {by}: {note})"
LETTER_COLUMNS = {
    "received_at": "Received (UTC)",
    "reason": "Reason",
    "detail": "Detail",
    "gateway_id": "Gateway",
    "source": "From",
    "payload_size": "Bytes",
    "action": "Handled",
}

ALARM_LIST = "Alarm list"
ALARM_COLUMNS = {
    "state": "State",
    "severity": "Severity",
    "sensor": "Sensor",
    "reason": "What is wrong",
    "since": "Since (UTC)",
    "who": "Seen or set aside by",
}
ALARM_STATES = {
    "unacknowledged": "Unacknowledged",
    "acknowledged": "Acknowledged",
    "returned-unacknowledged": "Over, unacknowledged",
    "latched": "Latched",
    "shelved": "Shelved",
    "suppressed": "Suppressed",
    "out-of-service": "Out of service",
    "cleared": "Cleared",
}
STATES = "States"
ACKNOWLEDGE = "Acknowledge"
SHELVE = "Shelve"
UNSHELVE = "Take off the shelf"
COMMENT = "Comment"
REASON = "Reason"
HOURS = "Hours"
CANCEL = "Cancel"
UNTIL = "until {time}"
FORGOTTEN = "(forgotten?)"
TOKEN = "Your token"  # noqa: S105 - the label of a field
SIGN_IN = "Sign in"
SIGN_IN_BY_PROVIDER = "Sign in with your account"
SIGN_IN_FAILED = "Signing in did not succeed: {why}"
SIGN_IN_STRANGE = "this is not the answer to a question of this browser; try again."
SIGN_IN_FIRST = "Sign in to see the plant."
SOME_SITES = "The console shows the whole plant; your token is for {sites} alone. The API shows you those."
SIGN_OUT = "Sign out"
SIGNED_IN = "{name} ({role})"
DONE = "{count} done"
API_AWAY = "The API does not answer; what you see is what was known last."
ALARMS_WAITING = "{count} wait for somebody"
ALARMS_NOBODY_NEEDED = "nobody is needed"
ALARMS_NONE_HERE = "No alarm in these states."

OF_ASSET = "of {asset}"
ALL_ALARMS = "all alarms"
NEWEST_FIRST = "newest first"
ONLY_FORGOTTEN = "only forgotten ones"
CHOOSE = "Choose this one"
CHOOSE_PAGE = "Choose all that are shown"
CHOOSE_ALL = "Choose all {total}"
CHOOSE_FIRST = "Choose alarms to act on"
CHOSEN = "{count} chosen:"
PAGE_BACK = "Previous"
PAGE_ON = "Next"
PAGE_OF = "{first} to {last} of {total}"
OUT_OF_SERVICE = "Out of service"
IN_SERVICE = "Back in service"
MORE_FAILED = "and {count} more"
MARK = "It was"
MARKS = {"useful": "useful", "false": "false", "expected": "expected"}
MARKED = "{who}: {mark}"
PART_OF = "part of {alarm}"
KEYS = {"acknowledge": "a", "shelve": "s", "comment": "c"}
KEY = "key {key}"

COURSE = "Course"
COURSE_HINT = "with what was expected, and the limits"
NO_COURSE = "The alarm is about a whole device; its sensors are listed below."
EXPECTED_BAND = "expected"
LIFE = "Life"
LIFE_HINT = "who did what, the newest first; times are UTC"
LIFE_COLUMNS = ("When", "Who", "What", "Words")
LIFE_NONE = "Nothing is recorded yet."
DETECTION = "detection"
DEEDS = {
    "open": "raised",
    "update": "updated",
    "close": "ended",
    "acknowledge": "acknowledged",
    "comment": "commented",
    "shelve": "shelved",
    "unshelve": "taken off the shelf",
    "suppress": "suppressed",
    "unsuppress": "suppression lifted",
    "out-of-service": "taken out of service",
    "in-service": "put back in service",
    "reset": "reset",
    "mark": "marked",
}
MATES = "Its asset"
MATES_HINT = "all sensors of the machine, now"
MATE_COLUMNS = ("Sensor", "Value", "Alarm")
MATES_NONE = "The asset registry does not know its asset."
MATE_WELL = "none"
MATE_SILENT = "silent"
SIMILAR = "Similar ones before"
SIMILAR_HINT = "the same alarm, and the same kind on this asset"
SIMILAR_COLUMNS = ("When (UTC)", "Lasted", "Severity", "What", "Said then")
SIMILAR_NONE = "It has not happened before."
FACTS = {
    "place": "Place",
    "observed": "Observed",
    "expected": "Expected",
    "since": "Since (UTC)",
    "ended": "Ended",
    "detector": "Found by",
    "aside": "Seen or set aside by",
    "marks": "Marked",
    "members": "Takes along",
    "trust": "Trust in its data",
}
STILL = "still holds"
BETWEEN = "{low} to {high}"
VERDICTS = {"good": "good", "fair": "fair", "poor": "poor", "no data": "no data"}
TO_LIVE = "Show live"
TO_GRAFANA = "Open in Grafana at this time"
TO_ASSET_ALARMS = "All alarms of the asset"

OVERVIEW = "The plant"
OVERVIEW_HINT = "every asset, what is wrong first"
ONLY_WRONG = "only what is wrong"
ASSETS_WRONG = "{wrong} of {all} need a look"
ASSETS_WELL = "all is well"
ASSETS_NONE = "The asset registry is empty; `fieldstream assets load PLANT_FILE` fills it."
ASSET_WELL = "no alarm"
NO_SITE = "without a site"
REPORTING = "{reporting} of {sensors} sensors report"
COUNTED = "{count} {what}"

GATEWAYS = "Gateways"
GATEWAYS_HINT = "from their newest heartbeats"
GATEWAY_COLUMNS = (
    *("Gateway", "State", "Heartbeat", "Data", "Waiting", "Buffer lasts", "Clock", "Certificate", "Disk free"),
    "Version",
)
SILENT = "silent"
AGO = "{age} ago"
MISSING = "{count} missing"
NOTHING_WAITS = "nothing"
WAITING_SINCE = "{count}, oldest {age}"
OFFSET = "{ms:+.0f} ms"
NO_CERTIFICATE = "none known"
DAYS = "{count} days"
EXPIRED = "expired"
GB = "{size:.1f} GB"

REPLAY = "Replay"
DISCARD = "Discard"
DISCARD_HINT = "Say why; the letters stay readable."
HANDLED_NOW = {"replay": "{count} replayed", "discard": "{count} discarded"}

MAINTENANCE = "Planned work"
MAINTENANCE_HINT = "detection raises and learns nothing in it; times are UTC"
MAINTENANCE_NONE = "No work has been planned."
PLAN = "Plan work"
PLAN_HINT = "leave room for the machine to settle; times are UTC"
ASSET = "Asset"
STARTS = "Starts"
ENDS = "Ends"
WHAT_IS_DONE = "What is done"
NO_TIME = "Say when it starts and ends."
NO_ASSET = "Choose an asset."
PLANNED = "Planned."
PLANNED_BY = "planned by {who}"
END_NOW = "End now"
WITHDRAW = "Withdraw"
ENDED = "Ended."
WORK_STATES = {"now": "under way", "later": "to come", "over": "over"}
FROM_TO = "{start} to {end}"

LENGTH = "Length"
UNTIL_FIELD = "Until (UTC); empty: now"
SHIFT_LENGTHS = {8: "8 hours", 12: "12 hours", 24: "a day"}
HEALTH_LENGTHS = {24: "a day", 8: "8 hours", 168: "a week", 720: "30 days"}

HEALTH = "Alarm health"
HEALTH_HINT = "the alarm system itself, after EEMUA 191"
OPERATORS = "People on shift"
HEALTH_FIGURES = {
    "average": "Alarms per person and 10 minutes",
    "alarms": "Alarms in all",
    "peak": "Most in 10 minutes",
    "flood": "Time in flood",
    "standing": "Standing now",
    "stale": "Standing for over a day",
    "answered": "Acknowledged",
    "median": "Median until then",
    "priorities": "Critical / warning / info (wanted: 5 / 15 / 80)",
}
AVERAGE = "{average:.2g}: {load}"
LOADS = {
    "acceptable": "acceptable",
    "manageable": "manageable",
    "over-demanding": "over-demanding",
    "unacceptable": "unacceptable",
}
PERCENT = "{share:.3g}\u00a0%"  # a space at which no line breaks
PER_BUCKET = "alarms in 10 minutes"
FLOOD_LINE = "flood"
TOP = "Top ten"
TOP_HINT = "mend these first"
TOP_COLUMNS = ("Alarm", "Times", "Share", "What")
TOP_NONE = "No alarm in this time."
CHATTERING = "Chattering"
CHATTERING_HINT = "three times or more within a minute"
CHATTER_COLUMNS = ("Alarm", "In a minute", "In all")
CHATTER_NONE = "No alarm chatters."
STANDING = "Standing"
STANDING_HINT = "their condition holds; coloured: for over a day"
STANDING_COLUMNS = ("Alarm", "Severity", "For", "What")
STANDING_NONE = "No alarm stands."
FLOODS = "Floods"
FLOODS_HINT = "more than ten in 10 minutes for one person, until fewer than five"
FLOOD_COLUMNS = ("Began (UTC)", "Lasted", "Alarms", "Most in 10 minutes")
FLOODS_NONE = "No flood."

HANDOVER = "Shift hand-over"
HANDOVER_HINT = "times are UTC"
PRINT = "Print"
NO_ALARMS = "no alarms"
HANDOVER_SUMMARY = (
    "Alarms: {alarms}. Open now: {open}. Set aside now: {aside}. Sensors with corrected numbers: {corrected}. "
    "Dead letters: {letters}. Readings missing: {missing}."
)
HANDOVER_PARTS = {
    "open": ("Open now", ("Severity", "Sensor", "State", "Since", "What"), "Nothing is open."),
    "aside": ("Set aside now", ("Sensor", "State", "By whom, why, until"), "Nothing is set aside."),
    "happened": (
        *("What happened", ("Severity", "Asset", "What", "Began", "Ended", "Seen by")),
        "No alarm in this shift.",
    ),
    "deeds": ("What was done", ("When", "Who", "What", "Alarm", "Words"), "Nobody did anything to an alarm."),
    "maintenance": ("Planned work", ("About", "When", "What is done", "Planned by"), "No work touches this shift."),
    "corrected": ("Corrected numbers", ("Sensor", "Windows of 10 s", "Of the time"), "No number was corrected."),
    "gateways": ("Completeness", ("Gateway", "Accepted", "Stored", "Missing"), "No gateway reported."),
    "letters": ("Dead letters", ("Reason", "Number"), "None."),
}
SIGNATURES = "Handed over by ____________________   taken over by ____________________"
MEMBERS = "{count} alarms: {names}"

FEEDBACK = "What people thought of alarms"
FEEDBACK_HINT = "marks of the last 30 days; they change nothing by themselves"
FEEDBACK_COLUMNS = ("Alarm", "Came", "Useful", "False", "Expected", "Try")
FEEDBACK_NONE = "Nobody has marked an alarm yet; an alarm's page and the alarm list offer it."
TRY = "Try settings"
TRY_QUIETER = "Try a quieter setting"
TRY_HINT = "on what is stored, beside everything else; nothing is changed"
TRY_WHAT = "Say which setting of what, and its value."
TRYING = "Trying."
TRIAL_RUNS = "Under way ..."
TRIAL_LENGTHS = {24: "the last day", 8: "the last 8 hours", 168: "the last week", 1: "the last hour"}
TRIED = "{who}, over {length}"
ALL_ASSETS = "all assets"
FOR = "For"
WHICH = "Which"
SETTING = "Setting"
VALUE = "Value"
LAYERS = {"all": "everything", "asset_type": "asset type", "metric": "metric", "sensor": "sensor"}
SETTINGS = {
    "false_alarms_per_sensor_day": "false alarms allowed per sensor and day; lower is quieter",
    "deadband_share": "deadband, as a share of the limit's distance to the other side",
    "on_delay_s": "seconds for which a limit must be broken",
    "off_delay_s": "seconds for which it must be kept before the alarm ends",
    "low_low": "limit LL, in the sensor's unit",
    "low": "limit L, in the sensor's unit",
    "high": "limit H, in the sensor's unit",
    "high_high": "limit HH, in the sensor's unit",
    "max_rate_per_min": "limit of change, units per minute",
    "gap_s": "silence that is a gap, seconds",
    "stuck_s": "time without change that is stuck, seconds",
    "cool_down_s": "seconds in which an alarm that comes again is the same one",
}
NOW_IT_IS = "{words}; for everything it is {value}"
VERDICT = (
    "Of {before} alarms {removed} would not have come, and {added} more would have. Of {useful} marked useful {missed} "
    "would have been missed; of {unwanted} marked false or expected {avoided} would have been avoided."
)
WHICH_ONES = "Which ones"
INTO_SHADOW = "Run it beside the live settings"
CHANGES = {"removed": "would not have come", "added": "would have come"}
CHANGE_COLUMNS = ("Change", "When (UTC)", "Sensor", "Severity", "What")
IN_FORCE = "Settings in force"
IN_FORCE_HINT = "what differs from the defaults; the settings file decides"
SETTING_COLUMNS = ("For", "Setting", "Value", "Default")
