{{- define "detector.labels" -}}
app.kubernetes.io/name: detector
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "detector.selector" -}}
app.kubernetes.io/name: detector
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}
