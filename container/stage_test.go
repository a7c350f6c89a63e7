package container

func stageMain(string) {}
