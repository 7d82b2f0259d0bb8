package cli

import "github.com/spf13/cobra"

// releases is the root of what one does with releases once they are built; one file a verb.
func (a *app) releases() *cobra.Command {
	cmd := &cobra.Command{Use: "release", Aliases: []string{"releases"}, Short: "What is known of a release: its contents, its changes, its evidence"}
	cmd.AddCommand(
		a.releaseList(),
		a.releaseShow(),
		a.releaseDiff(),
		a.releaseReproduce(),
		a.releaseVerify(),
		a.releaseSBOM(),
		a.releaseScan(),
	)
	return cmd
}
