{{- define "uici.name" -}}
{{- if contains "uici" .Release.Name }}{{ .Release.Name | trunc 53 | trimSuffix "-" }}{{ else }}{{ printf "uici-%s" .Release.Name | trunc 53 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "uici.selector" -}}
app.kubernetes.io/name: uici
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "uici.labels" -}}
{{ include "uici.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "uici.serviceAccount" -}}
{{ default (include "uici.name" .) .Values.serviceAccount.name }}
{{- end }}
