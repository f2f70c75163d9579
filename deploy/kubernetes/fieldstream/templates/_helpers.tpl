{{- define "declared" -}}{{ .Files.Get "files/declared.yaml" }}{{- end }}

{{- define "labels" -}}
app.kubernetes.io/name: fieldstream
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
app.kubernetes.io/part-of: fieldstream
{{- end }}

{{- define "selector" -}}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- /* Pod Security Standard "restricted". */}}
{{- define "podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "containerSecurity" -}}
runAsNonRoot: true
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}

{{- /* A component's pods over zones, and where there is only one over its nodes. */}}
{{- define "spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: ScheduleAnyway
  labelSelector:
    matchLabels:
      {{- include "selector" $ | nindent 6 }}
{{- end }}
{{- end }}

{{- define "access" -}}{{ .Files.Get "files/access.yaml" | replace "<store>" .Values.flink.store }}{{- end }}

{{- /* What each pod of ours has, and nothing else. `serves`: names in its certificate; `kafka`: a KafkaUser with its rights;
     `clickhouse`: a user with its grants; `registry`: a role there; `keys`: files of existingSecret; `pseudonyms`: the key of
     pseudonyms; `notify`: whom to tell; `flink`: the certificate of the Flink clusters; `as`: the component whose
     certificate and users it has. */}}
{{- define "components" -}}
loader: {serves: true, kafka: true, clickhouse: true, registry: reader, keys: [dead-letters.pub], pseudonyms: true}
alerter: {serves: true, kafka: true, clickhouse: true, registry: reader, keys: [link.key], notify: true}
tracer: {serves: true, kafka: true, clickhouse: true, registry: reader}
jobs: {serves: true, kafka: true, flink: true}
assets: {serves: true, kafka: true, registry: reader, keys: [dead-letters.pub]}
api: {serves: true, kafka: true, clickhouse: true, registry: reader, keys: [dead-letters.key, api-tokens.toml, link.key], pseudonyms: true}
console: {serves: true, clickhouse: true, keys: [dead-letters.key, api-tokens.toml], pseudonyms: true}
setup: {kafka: true, clickhouse: true, registry: writer}
tools: {as: setup, kafka: true, clickhouse: true, registry: writer, keys: [dead-letters.key, signing.key], pseudonyms: true}
pipeline: {kafka: true, registry: reader, keys: [dead-letters.pub], pseudonyms: true, flink: true}
detect: {kafka: true, registry: reader, flink: true}
{{- end }}

{{- define "secretName" -}}
{{ required "existingSecret: name the Secret of docs/deploy.md, step 3" .Values.existingSecret }}
{{- end }}

{{- /* Environment of a program of ours: the passwords that its settings file names. */}}
{{- define "settingsEnv" -}}
{{- $has := get (include "components" . | fromYaml) .component }}
- {name: FIELDSTREAM_CONFIG, value: /etc/fieldstream/fieldstream.toml}
- {name: SSL_CERT_FILE, value: /etc/fieldstream/tls/ca.crt}
{{- if $has.clickhouse }}
- name: CLICKHOUSE_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "secretName" .root }}, key: clickhouse-{{ default .component $has.as }}}}
{{- end }}
{{- with $has.registry }}
- name: REGISTRY_PASSWORD
  valueFrom: {secretKeyRef: {name: {{ include "secretName" $.root }}, key: registry-{{ . }}}}
{{- end }}
{{- end }}

{{- define "settingsMounts" -}}
- {name: own, mountPath: /etc/fieldstream, readOnly: true}
- {name: work, mountPath: /var/lib/fieldstream}
- {name: work, mountPath: /tmp}
{{- end }}

{{- /* One volume holds all that a program of ours has: its settings, certificate and keys. */}}
{{- define "settingsVolumes" -}}
{{- $has := get (include "components" . | fromYaml) .component }}
- name: own
  projected:
    defaultMode: 0440
    sources:
      - configMap:
          name: {{ .root.Release.Name }}-settings
          items: [{key: {{ .component }}.toml, path: fieldstream.toml}]
      - secret:
          name: {{ .root.Release.Name }}-{{ default .component $has.as }}-tls
          items:
            {{- include "tlsItems" . | nindent 12 }}
      {{- if $has.flink }}
      - secret:
          name: {{ .root.Release.Name }}-flink-tls
          items:
            - {key: tls.crt, path: flink/flink.crt}
            {{- if eq .component "jobs" }}
            - {key: tls.key, path: flink/flink.key}
            - {key: ca.crt, path: flink/ca.crt}
            {{- else }}
            - {key: keystore.p12, path: flink/flink.p12}
            - {key: truststore.p12, path: flink/flink.trust.p12}
            {{- end }}
      {{- end }}
      {{- with $has.keys }}
      - secret:
          name: {{ include "secretName" $.root }}
          items:
            {{- range . }}
            - {key: {{ . }}, path: keys/{{ . }}}
            {{- end }}
      {{- end }}
      {{- if $has.pseudonyms }}
      - secret:
          name: {{ required "pseudonymSecret: name the Secret with pseudonym.key" .root.Values.pseudonymSecret }}
          items: [{key: pseudonym.key, path: keys/pseudonym.key}]
      {{- end }}
      {{- if $has.notify }}
      - secret:
          name: {{ required "notify.secret: name the Secret with notify.toml, or nobody is told of an alarm" .root.Values.notify.secret }}
          items: [{key: notify.toml, path: notify/notify.toml}]
      - secret:
          name: {{ .root.Values.notify.secret }}
          items: [{key: smtp-password, path: notify/smtp-password}]
          optional: true
      {{- end }}
- name: work
  emptyDir: {sizeLimit: 1Gi}
{{- end }}

{{- /* Java reads key and certificate in one file, named by the job. */}}
{{- define "tlsItems" -}}
- {key: ca.crt, path: tls/ca.crt}
- {key: tls.crt, path: tls/tls.crt}
{{- if has .component (list "pipeline" "detect" "registry") }}
- {key: tls-combined.pem, path: tls/{{ ternary "tls-combined" .component (eq .component "registry") }}.pem}
{{- end }}
{{- if not (has .component (list "pipeline" "detect")) }}
- {key: tls.key, path: tls/tls.key}
{{- end }}
{{- end }}

{{- /* A program reads its certificates at its start: it is started anew once they are not those of then. */}}
{{- define "renewal" -}}
lifecycle:
  postStart:
    exec: {command: [sh, -c, "cat /etc/fieldstream/*/*.crt > /tmp/certificates-at-start"]}
livenessProbe:
  exec: {command: [sh, -c, '[ "$(cat /etc/fieldstream/*/*.crt)" = "$(cat /tmp/certificates-at-start)" ]']}
  periodSeconds: 20
{{- end }}

{{- /* ClickHouse and its Keeper take a renewed certificate by themselves. */}}
{{- define "clickhouseTls" -}}
<clickhouse>
  <openSSL>
    <server>
      <certificateFile>/etc/fieldstream/tls/tls.crt</certificateFile>
      <privateKeyFile>/etc/fieldstream/tls/tls.key</privateKeyFile>
      <verificationMode>none</verificationMode>
      <disableProtocols>sslv2,sslv3,tlsv1,tlsv1_1</disableProtocols>
    </server>
    <client>
      <caConfig>/etc/fieldstream/tls/ca.crt</caConfig>
      <loadDefaultCAFile>false</loadDefaultCAFile>
      <verificationMode>strict</verificationMode>
      <invalidCertificateHandler><name>RejectCertificateHandler</name></invalidCertificateHandler>
    </client>
  </openSSL>
</clickhouse>
{{- end }}

{{- define "clickhouseVolume" -}}
- name: own
  projected:
    defaultMode: 0440
    sources:
      - secret:
          name: {{ .root.Release.Name }}-{{ .component }}-tls
          items:
            {{- include "tlsItems" . | nindent 12 }}
{{- end }}
