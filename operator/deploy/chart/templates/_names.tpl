{{- define "leafseal.name" -}}
{{- .Values.nameOverride | default .Chart.Name | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "leafseal.fullname" -}}
{{- $name := include "leafseal.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 50 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "leafseal.selector" -}}
app.kubernetes.io/name: {{ include "leafseal.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "leafseal.labels" -}}
{{ include "leafseal.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "leafseal.serviceAccount" -}}
{{- if .Values.serviceAccount.create }}
{{- .Values.serviceAccount.name | default (include "leafseal.fullname" .) }}
{{- else }}
{{- .Values.serviceAccount.name | default "default" }}
{{- end }}
{{- end }}

{{- /*
The namespaces that are served, as {"items": […]}; empty for all. That of the release is one of them when it
holds what the chart makes for Vault Secrets.
*/ -}}
{{- define "leafseal.namespaces" -}}
{{- $all := .Values.scopedNamespaces | default list }}
{{- with .Values.scopedNamespace }}{{ $all = append $all . }}{{ end }}
{{- if and $all (or .Values.defaultVaultConnection.enabled .Values.defaultAuthMethod.enabled) }}
{{- $all = append $all .Release.Namespace }}
{{- end }}
{{- dict "items" ($all | uniq | sortAlpha) | toYaml }}
{{- end }}

{{- /* The rules of one scope, as YAML. Takes {"root": …, "scope": "namespaced" or "cluster"}. */ -}}
{{- define "leafseal.rules" -}}
{{- $values := .root.Values }}
{{- $rules := get (.root.Files.Get "rules.yaml" | fromYaml) .scope }}
{{- $finalizers := $rules.finalizers | default dict }}
{{- $granted := $rules.common | default list }}
{{- if or $values.externalSecrets.enabled $values.vaultSecrets.enabled }}
{{- $granted = concat $granted ($rules.keeping | default list) }}
{{- if $values.rbac.serviceAccountTokenCreate }}
{{- $granted = concat $granted ($rules.tokens | default list) }}
{{- end }}
{{- end }}
{{- range $family := list "externalSecrets" "vaultSecrets" "reload" }}
{{- if (get $values $family).enabled }}
{{- $granted = concat $granted (get $rules $family | default list) }}
{{- if $values.openshiftFinalizers }}
{{- $granted = concat $granted (get $finalizers $family | default list) }}
{{- end }}
{{- end }}
{{- end }}
{{- toYaml $granted }}
{{- end }}

{{- /* The command line, one argument a line of a YAML list. */ -}}
{{- define "leafseal.args" -}}
{{- $families := list }}
{{- if .Values.externalSecrets.enabled }}{{ $families = append $families "external-secrets" }}{{ end }}
{{- if .Values.vaultSecrets.enabled }}{{ $families = append $families "vault-secrets" }}{{ end }}
{{- if .Values.reload.enabled }}{{ $families = append $families "reload" }}{{ end }}
{{- if not $families }}
{{- fail "externalSecrets.enabled, vaultSecrets.enabled, reload.enabled: enable one of them" }}
{{- end }}
- --families={{ join "," $families }}
{{- with (include "leafseal.namespaces" . | fromYaml).items }}
- --namespaces={{ join "," . }}
{{- end }}
- --metrics-address=:{{ .Values.metrics.port }}
- --health-address=:{{ .Values.health.port }}
- --leader-elect={{ .Values.leaderElect }}
- --concurrency={{ .Values.concurrent }}
- --log-level={{ (.Values.log | default dict).level | default .Values.logLevel }}
{{- with .Values.controllerClass }}
- --controller-class={{ . }}
{{- end }}
{{- with .Values.storeRequeueInterval }}
- --store-check-interval={{ . }}
{{- end }}
{{- if eq (toString .Values.processClusterStore) "false" }}
- --cluster-secret-stores=false
{{- end }}
{{- if eq (toString .Values.processClusterExternalSecret) "false" }}
- --cluster-external-secrets=false
{{- end }}
{{- if .Values.reload.enabled }}
{{- range $value, $flag := .Files.Get "flags.yaml" | fromYaml }}
{{- with get $.Values.reload $value }}
- {{ printf "--%s=%v" $flag (kindIs "slice" . | ternary (join "," .) .) | quote }}
{{- end }}
{{- end }}
{{- end }}
{{- if kindIs "map" .Values.extraArgs }}
{{- range $name, $value := .Values.extraArgs }}
- {{ printf "--%s=%v" $name $value | quote }}
{{- end }}
{{- else }}
{{- range .Values.extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
{{- end }}
