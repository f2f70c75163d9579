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

{{- /* Environment and files of every program of the centre. */}}
{{- define "settingsEnv" -}}
- {name: FIELDSTREAM_CONFIG, value: /etc/fieldstream/fieldstream.toml}
- name: CLICKHOUSE_PASSWORD
  valueFrom:
    secretKeyRef:
      name: {{ required "existingSecret: name the Secret with clickhouse-password, pseudonym.key, dead-letters.key, dead-letters.pub and api-tokens.toml" .Values.existingSecret }}
      key: clickhouse-password
{{- end }}

{{- define "settingsMounts" -}}
- {name: settings, mountPath: /etc/fieldstream, readOnly: true}
- {name: secrets, mountPath: /etc/fieldstream-secrets, readOnly: true}
- {name: work, mountPath: /var/lib/fieldstream}
- {name: work, mountPath: /tmp}
{{- end }}

{{- define "settingsVolumes" -}}
- name: settings
  configMap: {name: {{ .Release.Name }}-settings}
- name: secrets
  secret: {secretName: {{ .Values.existingSecret }}, defaultMode: 0440}
- name: work
  emptyDir: {sizeLimit: 1Gi}
{{- end }}
