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
{{- define "detector.scheme" -}}
{{ ternary "HTTPS" "HTTP" (not (empty .Values.api.tlsSecret)) }}
{{- end }}
{{- /* The kubelet asks the node's address unless told another. */ -}}
{{- define "detector.probe" -}}
port: http
scheme: {{ include "detector.scheme" . }}
{{- if not (has .Values.api.address (list "0.0.0.0" "::")) }}
host: {{ .Values.api.address | quote }}
{{- end }}
{{- end }}
