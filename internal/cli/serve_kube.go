package cli

import (
	"net/netip"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/waybill-dev/waybill/internal/server"
)

// kubeFlags are those of a server whose pools run on Kubernetes. The function that it returns sets c.Kube,
// or refuses what does not go together.
func kubeFlags(cmd *cobra.Command, c *server.Config) func() error {
	var engine string
	var k server.Kube
	f := cmd.Flags()
	f.StringVar(&engine, "runtime", "docker", "where pools run: docker, this machine's engine, or kube, a Kubernetes cluster")
	own := map[string]bool{}
	before := map[string]bool{}
	f.VisitAll(func(flag *pflag.Flag) { before[flag.Name] = true })
	f.StringVar(&k.Config, "kubeconfig", "", "with --runtime kube: file that says where the cluster is (default KUBECONFIG, or the service account of this pod)")
	f.StringVar(&k.Context, "kube-context", "", "with --runtime kube: context of the kubeconfig (default its current one)")
	f.StringVar(&k.Prefix, "namespace-prefix", "waybill", "with --runtime kube: what the names of namespaces begin with, another one for each Waybill of a cluster")
	f.StringVar(&k.Volume, "volume", "", "with --runtime kube: PersistentVolume for filestores, which all pods and this server mount, or NAMESPACE/NAME of the claim that is bound to it")
	f.StringVar(&k.VolumeDir, "volume-folder", "", "with --runtime kube: where this server sees the root of that volume")
	f.StringVar(&k.Filestores, "filestores", "", "with --runtime kube: bucket for filestores as a URL, another one than --bucket or with a prefix of its own, where there is no such volume; the gateways to it get this server's AWS_ variables")
	f.StringSliceVar(&k.Reach, "reach", nil, "with --runtime kube: namespaces that pools may reach, of PostgreSQL, Redis or a mail relay in the cluster")
	f.StringVar(&k.PullSecret, "pull-secret", "", "with --runtime kube: file as .dockerconfigjson, with which nodes pull from the registry")
	f.StringToStringVar(&k.Quota, "quota", nil, "with --runtime kube: what each namespace may use, for example requests.memory=64Gi")
	f.StringVar(&k.Rehearsals, "rehearsal-address", "", "with --runtime kube: address at which pods of rehearsals reach this server's machine or pod (default the one from which it talks to the cluster)")
	f.StringVar(&k.Traefik.Namespace, "traefik-namespace", "", "with --runtime kube: where Traefik runs, which then carries people's requests to the routers; without, node ports do")
	f.StringSliceVar(&k.Traefik.EntryPoints, "traefik-entrypoints", nil, "Traefik's entry points (default its own)")
	f.StringSliceVar(&k.Traefik.Proxies, "traefik-networks", nil, "networks of Traefik's pods, which may say who the client is, for example 10.0.0.0/16")
	f.StringVar(&k.Traefik.TLSSecret, "traefik-tls-secret", "", "secret with the certificate, in the environment's namespace")
	f.StringVar(&k.Traefik.Issuer, "traefik-issuer", "", "ClusterIssuer of cert-manager that fills the secret")
	f.VisitAll(func(flag *pflag.Flag) { own[flag.Name] = !before[flag.Name] })
	return func() error {
		var given, traefik []string
		f.Visit(func(flag *pflag.Flag) {
			if own[flag.Name] {
				given = append(given, "--"+flag.Name)
				if strings.HasPrefix(flag.Name, "traefik-") && flag.Name != "traefik-namespace" {
					traefik = append(traefik, "--"+flag.Name)
				}
			}
		})
		switch {
		case engine == "docker" && len(given) > 0:
			return usagef("%s: only with --runtime kube", strings.Join(given, ", "))
		case engine == "docker":
			return nil
		case engine != "kube":
			return usagef("--runtime %s: expected docker or kube", engine)
		case k.Filestores != "" && (k.Volume != "" || k.VolumeDir != ""):
			return usagef("--filestores and --volume: filestores are in a bucket or on a volume; give one of them")
		case k.Filestores != "" && k.Filestores == c.Bucket:
			return usagef("--filestores and --bucket are the same: give filestores a bucket of their own, or a prefix (?prefix=filestores/)")
		case k.Filestores == "" && (k.Volume == "" || k.VolumeDir == ""):
			return usagef("--runtime kube needs a place for filestores: --volume and --volume-folder, a volume that the pods and this server mount, or --filestores, a bucket")
		case k.Rehearsals != "" && !oneAddress(k.Rehearsals):
			return usagef("--rehearsal-address %s: expected one IP address of this machine, not all of them", k.Rehearsals)
		case k.Traefik.Namespace == "" && len(traefik) > 0:
			return usagef("%s: only with --traefik-namespace", strings.Join(traefik, ", "))
		case k.Traefik.Issuer != "" && k.Traefik.TLSSecret == "":
			return usagef("--traefik-issuer needs --traefik-tls-secret: the secret that it fills")
		}
		c.Kube = &k
		return nil
	}
}

func oneAddress(text string) bool {
	a, err := netip.ParseAddr(text)
	return err == nil && !a.IsUnspecified() && a.Zone() == ""
}
