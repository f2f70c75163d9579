"""All words of the console in one place, for translation."""

TITLE = "Fieldstream"
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
TO_ALARM_LIST = "Alarm list"
TO_OVERVIEW = "Overview"
ALARM_COLUMNS = {
    "state": "State",
    "severity": "Severity",
    "asset": "Asset",
    "sensor": "Sensor",
    "reason": "What is wrong",
    "since": "Since (UTC)",
    "who": "Set aside by",
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
DONE = "{count} done"
API_AWAY = "The API does not answer; what you see is what was known last."
ALARMS_WAITING = "{count} wait for somebody"
ALARMS_NOBODY_NEEDED = "nobody is needed"
ALARMS_NONE_HERE = "No alarm in these states."
