{{- define "waybill.name" -}}
{{- if contains "waybill" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}{{ else }}{{ printf "%s-waybill" (.Release.Name | trunc 42 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "waybill.selector" -}}
app.kubernetes.io/name: waybill
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "waybill.labels" -}}
{{ include "waybill.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- /* What belongs to the whole cluster is named by the prefix of the namespaces: a second Waybill with the same one is refused. */}}
{{- define "waybill.clusterName" -}}
{{ printf "waybill:%s" .Values.namespacePrefix }}
{{- end }}

{{- define "waybill.scheme" -}}
{{ if .Values.tls.secret }}HTTPS{{ else }}HTTP{{ end }}
{{- end }}

{{- define "waybill.estateConfigMap" -}}
{{ .Values.estate.configMap | default (printf "%s-estate" (include "waybill.name" .)) }}
{{- end }}
