{{/* Name of the release's things: RELEASE-scalingnote, or RELEASE where that says it already. */}}
{{- define "scalingnote.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{/* Labels of all. */}}
{{- define "scalingnote.labels" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What chooses the pods of one service. Takes (list $ "query"). */}}
{{- define "scalingnote.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ $root.Chart.Name }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* An image: its digest where one is named, else its tag, else the version of the chart. */}}
{{- define "scalingnote.image" -}}
{{- $root := index . 0 -}}
{{- $image := index $root.Values.images (index . 1) -}}
{{- if $image.digest }}{{ $image.repository }}@{{ $image.digest }}
{{- else }}{{ $image.repository }}:{{ $image.tag | default $root.Chart.AppVersion }}{{ end }}
{{- end }}

{{/* The settings of one service, as JSON: keys that both services know, then its own. A file overrides defaults alone. */}}
{{- define "scalingnote.settings" -}}
{{- $root := index . 0 -}}
{{- $service := index . 1 -}}
{{- $own := index $root.Values $service -}}
{{- $all := mustMergeOverwrite (deepCopy $root.Values.settings) (deepCopy $own.settings) -}}
{{- $fixed := dict "host" "0.0.0.0" "metricsHost" "0.0.0.0" "store" "qdrant" "qdrantUrl" $root.Values.store.qdrantUrl "drainMs" ($root.Values.drainMs | int) "lameDuckMs" ($root.Values.lameDuckMs | int) -}}
{{- $_ := set $fixed (printf "%sTower" $service) $own.tower -}}
{{- $_ := set $fixed "livenessHost" "0.0.0.0" -}}
{{- $_ := set $fixed (printf "livenessPort%s" (title $service)) (eq $service "document" | ternary 7421 7422) -}}
{{- $access := $root.Values.access -}}
{{- if $access.keysSecret.name }}{{ $_ := set $fixed "keys" "/run/secrets/keys/keys.json" }}{{ else if not $all.jwtIssuer }}{{ $_ := set $fixed "anonymous" true }}{{ end -}}
{{- if $access.quotasConfigMap.name }}{{ $_ := set $fixed "tenantQuotas" "/etc/scalingnote-quotas/quotas.json" }}{{ end -}}
{{- if $access.tlsSecret }}
{{- $_ := set $fixed "tlsCert" (list "/run/secrets/tls/tls.crt") }}
{{- $_ := set $fixed "tlsKey" (list "/run/secrets/tls/tls.key") }}
{{- else }}{{ $_ := set $fixed "plaintext" true }}{{ end -}}
{{- range $name := keys $fixed | sortAlpha }}
{{- if hasKey $all $name }}{{ fail (printf "settings.%s is set by the chart, from other values; see values.yaml for which" $name) }}{{ end }}
{{- end }}
{{- mustMerge $fixed $all | toPrettyJson }}
{{- end }}

{{/* The settings of the console, as JSON. */}}
{{- define "scalingnote.consoleSettings" -}}
{{- $name := include "scalingnote.name" . -}}
{{- $own := .Values.console -}}
{{- $oidc := $own.oidc -}}
{{- $all := dict "host" "0.0.0.0" "portConsole" 7400 "consoleHosts" $own.hosts "drainMs" (.Values.drainMs | int) -}}
{{- range $service, $ports := dict "document" (list 7401 7411) "query" (list 7402 7412) -}}
{{- $_ := set $all (printf "%sAddress" $service) (printf "%s-%s:%v" $name $service (first $ports)) -}}
{{- $_ := set $all (printf "%sMetrics" $service) (printf "%s-%s:%v" $name $service (last $ports)) -}}
{{- end -}}
{{- if $oidc.issuer -}}
{{- $_ := set $all "oidcIssuer" $oidc.issuer -}}
{{- $_ := set $all "oidcClientId" $oidc.clientId -}}
{{- $_ := set $all "oidcScopes" $oidc.scopes -}}
{{- $_ := set $all "oidcToken" $oidc.token -}}
{{- if $oidc.redirect }}{{ $_ := set $all "oidcRedirect" $oidc.redirect }}{{ end -}}
{{- if $oidc.clientSecret.name }}{{ $_ := set $all "oidcClientSecretFile" "/run/secrets/oidc/secret" }}{{ end -}}
{{- else if not (or .Values.access.keysSecret.name .Values.settings.jwtIssuer) -}}
{{- $_ := set $all "anonymous" true -}}
{{- end -}}
{{- if $own.tlsSecret -}}
{{- $_ := set $all "tlsCert" (list "/run/secrets/tls/tls.crt") -}}
{{- $_ := set $all "tlsKey" (list "/run/secrets/tls/tls.key") -}}
{{- else }}{{ $_ := set $all "plaintext" true }}{{ end -}}
{{- toPrettyJson $all }}
{{- end }}

{{/* Resources of a container, with its cards. Takes (list resources gpu). */}}
{{- define "scalingnote.resources" -}}
{{- $resources := deepCopy (index . 0) -}}
{{- $gpu := index . 1 -}}
{{- if gt (int ($gpu.count | default 0)) 0 }}
{{- $limits := $resources.limits | default dict }}
{{- $_ := set $limits $gpu.resource (int $gpu.count) }}
{{- $_ := set $resources "limits" $limits }}
{{- end }}
{{- toYaml $resources }}
{{- end }}
