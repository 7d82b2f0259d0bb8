{{- /* What values.schema.json cannot say: what is needed, and what goes together. Everything at once, in the words of values.yaml. */}}
{{- define "waybill.check" -}}
{{- $v := .Values }}
{{- $wrong := list }}
{{- if not $v.image }}{{ $wrong = append $wrong "image: where make image IMAGE=… has pushed the server" }}{{ end }}
{{- if not $v.database.secret }}{{ $wrong = append $wrong "database.secret: the Secret with PostgreSQL's URL" }}{{ end }}
{{- if not $v.registry.url }}{{ $wrong = append $wrong "registry.url: host[:port][/prefix] of the registry with the releases" }}{{ end }}
{{- if not $v.bucket }}{{ $wrong = append $wrong "bucket: where checkpoints are kept, for example s3://checkpoints" }}{{ end }}
{{- if not (or $v.filestore.claim $v.filestore.bucket) }}{{ $wrong = append $wrong "filestore.claim, the PersistentVolumeClaim of the filestores in this namespace, or filestore.bucket" }}{{ end }}
{{- if and $v.filestore.claim $v.filestore.bucket }}{{ $wrong = append $wrong "one of filestore.claim and filestore.bucket, not both" }}{{ end }}
{{- if and $v.filestore.bucket (eq $v.filestore.bucket $v.bucket) }}{{ $wrong = append $wrong "filestore.bucket: another bucket than that of the checkpoints, or a prefix of its own (?prefix=filestores/)" }}{{ end }}
{{- if not (or $v.estate.configMap $v.estate.repository) }}{{ $wrong = append $wrong "estate.configMap, with the estate's files, or estate.repository, where it is kept in Git" }}{{ end }}
{{- if and $v.estate.configMap $v.estate.repository }}{{ $wrong = append $wrong "one of estate.configMap and estate.repository, not both: with a repository everything else comes from there" }}{{ end }}
{{- if and $v.estate.repository (not (get $v.estate.repository "remote")) }}{{ $wrong = append $wrong "estate.repository.remote: where the repository is" }}{{ end }}
{{- if and $v.oidc.issuer (not (and $v.oidc.client $v.publicURL)) }}{{ $wrong = append $wrong "oidc.client and publicURL, where oidc.issuer is given" }}{{ end }}
{{- if and (not $v.traefik.namespace) (or $v.traefik.entryPoints $v.traefik.networks $v.traefik.tlsSecret $v.traefik.issuer) }}{{ $wrong = append $wrong "traefik.namespace, where other settings of Traefik are given" }}{{ end }}
{{- if and $v.traefik.issuer (not $v.traefik.tlsSecret) }}{{ $wrong = append $wrong "traefik.tlsSecret: the secret that traefik.issuer fills" }}{{ end }}
{{- if and $v.ingress.enabled (not $v.ingress.host) }}{{ $wrong = append $wrong "ingress.host, where the ingress is enabled" }}{{ end }}
{{- if and $v.metrics.serviceMonitor.enabled (not $v.metrics.enabled) }}{{ $wrong = append $wrong "metrics.enabled: true, where a ServiceMonitor is asked for" }}{{ end }}
{{- if $wrong }}
{{- fail (printf "\n\nthe chart needs:\n- %s\n\nGive them with --set or in a file with -f; values.yaml explains each.\n" (join "\n- " $wrong)) }}
{{- end }}
{{- end }}
